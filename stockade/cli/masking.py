"""What looks like a secret in a call's arguments, hidden until the approver asks to see it.

A screen may be shared, recorded or read over a shoulder; an agent may pass a key where a secret
reference belongs. Only runs of letters, digits and the few signs of keys and tokens are masked, so
that nothing a shell or an interpreter would act on can hide behind a mask, and every mask says how
much is behind it. It finds the usual shapes, not every secret. Pure; never raises.
"""

import re
from collections.abc import Callable

MAX_MASKED = 4096

_NOT_A_REFERENCE = r"(?!secret://|//)"
_TOKEN = r"[A-Za-z0-9_\-.+/=~]"  # noqa: S105 - a pattern
_NAMES = r"(?:pass(?:word|wd|phrase)?|secret|token|api[_-]?key|access[_-]?key|private[_-]?key)"
_NAME = re.compile(rf"(?:.*[_\-.])?{_NAMES}", re.IGNORECASE)
_VALUE = re.compile(rf"{_NOT_A_REFERENCE}{_TOKEN}{{1,{MAX_MASKED}}}")

_PREFIXES = (
    "gh[opsur]_|github_pat_|glpat-|npm_|pypi-|hf_|sk-|sk_live_|rk_live_|xox[abeprs]-|"
    "stockade-pair-1:"
)

# In each the group "secret" is masked; what stands before it stays readable.
_SHAPES = tuple(
    re.compile(shape)
    for shape in (
        r"-----BEGIN [A-Z ]*PRIVATE KEY-----\s*(?P<secret>[A-Za-z0-9+/=\s]{16,16384}?)\s*-----END",
        r"\b(?P<secret>eyJ[A-Za-z0-9_-]{6,}\.eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{6,})",
        r"\b(?P<secret>(?:AKIA|ASIA)[0-9A-Z]{16})\b",
        r"\b(?P<secret>AIza[A-Za-z0-9_-]{30,})",
        rf"\b(?P<secret>(?:{_PREFIXES})[A-Za-z0-9_-]{{16,}})",
        rf"(?i){_NAMES}[\"']?\s*[=:]\s*[\"']?{_NOT_A_REFERENCE}(?P<secret>{_TOKEN}{{6,}})",
        rf"(?i)--{_NAMES}\s+{_NOT_A_REFERENCE}(?P<secret>{_TOKEN}{{6,}})",
        rf"(?i)\b(?:bearer|basic)\s+(?P<secret>{_TOKEN}{{8,}})",
        r"\b[a-z][a-z0-9+.-]{1,20}://[A-Za-z0-9_.+-]{0,64}:(?P<secret>[A-Za-z0-9_.+~-]{1,512})@",
    )
)


def masked(text: str) -> str:
    """The text with what looks like a secret replaced by how long it is."""
    for shape in _SHAPES:
        text = shape.sub(_replaced, text)
    return text


def is_secret_name(name: str) -> bool:
    """An argument of this name is taken for a secret whatever it holds."""
    return bool(_NAME.fullmatch(name))


def masked_value(text: str) -> str:
    """The value of an argument that is named as a secret."""
    return mask(text) if _VALUE.fullmatch(text) else masked(text)


def mask(text: str) -> str:
    """What stands for it."""
    return f"[masked, {len(text)} characters]"


def masker(name: str) -> Callable[[str], str]:
    """The rule for the argument of that name."""
    return masked_value if is_secret_name(name) else masked


def _replaced(found: re.Match[str]) -> str:
    start, end = (one - found.start() for one in found.span("secret"))
    return found[0][:start] + mask(found["secret"]) + found[0][end:]
