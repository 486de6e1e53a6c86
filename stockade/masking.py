"""What looks like a secret in a call's arguments, hidden until the approver asks to see it.

A screen may be shared, recorded or read over a shoulder; an agent may pass a key where a secret
reference belongs. Only runs of letters, digits and the few signs of keys and tokens are masked, so
that nothing a shell or an interpreter would act on can hide behind a mask: no sign, and no word
where a command would stand, as on a line of its own. A line of a private key is such a word, so a
key is masked only where the value is nothing but that key, a real one, and no command. Every mask
says how much is behind it. It finds the usual shapes, not every secret. Pure; never raises.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from stockade.bounds import Bounds

MAX_MASKED = 4096

_NOT_A_REFERENCE = r"(?!secret://|//)"
# After a space a path may be a program, as in `sudo -u basic /sbin/reboot`.
_NOT_A_PATH = r"(?!secret://|[./~])"
_TOKEN = r"[A-Za-z0-9_\-.+/=~]"  # noqa: S105 - a pattern
_NAMES = r"(?:pass(?:word|wd|phrase)?|secret|token|api[_-]?key|access[_-]?key|private[_-]?key)"
_COMMANDS = re.compile(
    r"(?:.*[_-])?(?:command|cmd|command[_-]?line|argv|shell|script)", re.IGNORECASE
)
_NAME = re.compile(rf"(?:.*[_\-.])?{_NAMES}", re.IGNORECASE)
_VALUE = re.compile(rf"{_NOT_A_REFERENCE}{_TOKEN}{{1,{MAX_MASKED}}}")

# What is between a name and its value: never a line's end, and a space behind "=" only where there
# is one before, since `TOKEN= reboot` is a command.
_GIVEN = r"[\"']?(?:[ \t]*:[ \t]*|[ \t]+=[ \t]*|=)[\"']?"
# Nothing before it, nothing behind it, and no line longer or, but for the last, shorter than usual.
_KEY = re.compile(
    r"-----BEGIN (?P<sort>(?:[A-Z]+ )?PRIVATE KEY)-----\r?\n"
    r"(?P<secret>(?:[A-Za-z0-9+/]{64,76}\r?\n)*[A-Za-z0-9+/]{1,76}={0,2})\r?\n"
    r"-----END (?P=sort)-----\s*"
)
MAX_KEY = 16 * 1024

_PREFIXES = (
    "gh[opsur]_|github_pat_|glpat-|npm_|pypi-|hf_|sk-|sk_live_|rk_live_|xox[abeprs]-|"
    "stockade-pair-1:"
)

# As a header has it: `sudo -u basic reboot` has a command there.
_HEADER = (
    r"(?i)\bauthorization[\"']?[ \t]*:[ \t]*[\"']?(?:bearer|basic)[ \t]+"
    rf"{_NOT_A_PATH}(?P<secret>{_TOKEN}{{8,}})"
)

# Whether there is one is asked once for each run of its letters, and not at each place in the run.
_PART = r"[A-Za-z0-9_-]"
_WEB_TOKEN = (
    rf"(?<!{_PART})(?={_PART}+\.eyJ{_PART}{{6,}}\.{_PART}{{6,}}){_PART}*?"
    rf"\b(?P<secret>eyJ{_PART}{{6,}}\.eyJ{_PART}{{6,}}\.{_PART}{{6,}})"
)

# In each the group "secret" is masked; what stands before it stays readable.
_SHAPES = tuple(
    re.compile(shape)
    for shape in (
        _WEB_TOKEN,
        r"\b(?P<secret>(?:AKIA|ASIA)[0-9A-Z]{16})\b",
        r"\b(?P<secret>AIza[A-Za-z0-9_-]{30,})",
        rf"\b(?P<secret>(?:{_PREFIXES})[A-Za-z0-9_-]{{16,}})",
        rf"(?i){_NAMES}{_GIVEN}{_NOT_A_REFERENCE}(?P<secret>{_TOKEN}{{6,}})",
        rf"(?i)--{_NAMES}[ \t]+{_NOT_A_PATH}(?P<secret>{_TOKEN}{{6,}})",
        _HEADER,
        r"\b[a-z][a-z0-9+.-]{1,20}://[A-Za-z0-9_.+-]{0,64}:(?P<secret>[A-Za-z0-9_.+~-]{1,512})@",
    )
)


def masked(text: str) -> str:
    """The text with what looks like a secret replaced by how long it is."""
    return replaced(text, mask)


def replaced(text: str, mark: Callable[[str], str]) -> str:
    """The text with each thing in it that looks like a secret replaced by its mark."""
    for shape in _SHAPES:
        text = shape.sub(lambda found: _marked(found, mark), text)
    return text


def is_command_name(name: str) -> bool:
    """What an argument of this name holds is run."""
    return bool(_COMMANDS.fullmatch(name))


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
    rule = masked_value if is_secret_name(name) else masked
    return rule if is_command_name(name) else lambda text: _masked_key(text) or rule(text)


def masked_arguments(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments, each masked as it is where it stands alone."""
    return {name: _masked_one(masker(name), value) for name, value in arguments.items()}


def masked_bounds(bounds: Bounds) -> Bounds:
    """Bounds with what looks like a secret in them masked."""
    return {
        name: {form: _masked_one(masker(name), value) for form, value in bound.items()}
        for name, bound in bounds.items()
    }


def _masked_one(rule: Callable[[str], str], value: Any) -> Any:
    if isinstance(value, str):
        return rule(value)
    if isinstance(value, list):
        return [_masked_one(rule, one) for one in value]
    if isinstance(value, Mapping):
        return {name: _masked_one(masker(name), one) for name, one in value.items()}
    return value


def _masked_key(text: str) -> str:
    """The text with the private key masked that it is; empty if it is something else."""
    found = _KEY.fullmatch(text) if len(text) <= MAX_KEY else None
    return _marked(found, mask) if found is not None and _is_key(text.encode()) else ""


def _is_key(pem: bytes) -> bool:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import (
        load_pem_private_key,
        load_ssh_private_key,
    )

    load = load_ssh_private_key if b"BEGIN OPENSSH" in pem else load_pem_private_key
    try:
        load(pem, None)
    except TypeError:
        return True  # it needs a passphrase
    except (ValueError, UnsupportedAlgorithm):
        return False
    return True


def _marked(found: re.Match[str], mark: Callable[[str], str]) -> str:
    start, end = (one - found.start() for one in found.span("secret"))
    return found[0][:start] + mark(found["secret"]) + found[0][end:]
