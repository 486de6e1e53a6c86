"""What looks like a secret in a call's arguments, hidden until the approver asks to see it.

A screen may be shared, recorded or read over a shoulder; an agent may pass a key where a secret
reference belongs. Only runs of letters, digits and the few signs of keys and tokens are masked, so
that nothing a shell or an interpreter would act on can hide behind a mask: no sign, and no word
where a command would stand, as on a line of its own. Every mask says how much is behind it. It
finds the usual shapes, not every secret. Pure; never raises.
"""

import re
from collections.abc import Callable

MAX_MASKED = 4096

_NOT_A_REFERENCE = r"(?!secret://|//)"
# After a space a path may be a program, as in `sudo -u basic /sbin/reboot`.
_NOT_A_PATH = r"(?!secret://|[./~])"
_TOKEN = r"[A-Za-z0-9_\-.+/=~]"  # noqa: S105 - a pattern
_NAMES = r"(?:pass(?:word|wd|phrase)?|secret|token|api[_-]?key|access[_-]?key|private[_-]?key)"
_NAME = re.compile(rf"(?:.*[_\-.])?{_NAMES}", re.IGNORECASE)
_VALUE = re.compile(rf"{_NOT_A_REFERENCE}{_TOKEN}{{1,{MAX_MASKED}}}")

# What is between a name and its value: never a line's end, and a space behind "=" only where there
# is one before, since `TOKEN= reboot` is a command.
_GIVEN = r"[\"']?(?:[ \t]*:[ \t]*|[ \t]+=[ \t]*|=)[\"']?"
# A line of a key: no blank in it, and letters of both cases and a digit, as no usual program has.
_KEY_LINE = (
    r"(?=[A-Za-z0-9+/=]*[A-Z])(?=[A-Za-z0-9+/=]*[a-z])(?=[A-Za-z+/=]*[0-9])"
    r"[A-Za-z0-9+/=]{16,128}(?![^\s-])"
)

_PREFIXES = (
    "gh[opsur]_|github_pat_|glpat-|npm_|pypi-|hf_|sk-|sk_live_|rk_live_|xox[abeprs]-|"
    "stockade-pair-1:"
)

# In each the group "secret" is masked; what stands before it stays readable.
_SHAPES = tuple(
    re.compile(shape)
    for shape in (
        rf"-----BEGIN [A-Z ]*PRIVATE KEY-----\s*(?P<secret>{_KEY_LINE}(?:\s+{_KEY_LINE}){{0,256}})",
        r"\b(?P<secret>eyJ[A-Za-z0-9_-]{6,}\.eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{6,})",
        r"\b(?P<secret>(?:AKIA|ASIA)[0-9A-Z]{16})\b",
        r"\b(?P<secret>AIza[A-Za-z0-9_-]{30,})",
        rf"\b(?P<secret>(?:{_PREFIXES})[A-Za-z0-9_-]{{16,}})",
        rf"(?i){_NAMES}{_GIVEN}{_NOT_A_REFERENCE}(?P<secret>{_TOKEN}{{6,}})",
        rf"(?i)--{_NAMES}[ \t]+{_NOT_A_PATH}(?P<secret>{_TOKEN}{{6,}})",
        rf"(?i)\b(?:bearer|basic)[ \t]+{_NOT_A_PATH}(?P<secret>{_TOKEN}{{8,}})",
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
