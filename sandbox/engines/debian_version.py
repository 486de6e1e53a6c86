"""The order of Debian's package versions (deb-version(7)). Pure; never raises.

Upstream's own versions compare the same way once a pre-release is written with a tilde.
"""

import re
from itertools import zip_longest

_PARTS = re.compile(r"(\D*)(\d*)")


def compare(one: str, other: str) -> int:
    """Below 0 if `one` is the older, above 0 if `other` is, 0 if they are equal."""
    for a, b in zip(_split(one), _split(other), strict=True):
        found = _compare_part(a, b)
        if found:
            return found
    return 0


def upstream(version: str) -> str:
    """The part that upstream chose: without epoch and Debian's revision."""
    return _split(version)[1]


def _split(version: str) -> tuple[str, str, str]:
    epoch, colon, rest = version.strip().partition(":")
    if not colon:
        epoch, rest = "0", version.strip()
    head, dash, tail = rest.rpartition("-")
    return (epoch, head, tail) if dash else (epoch, rest, "0")


def _compare_part(one: str, other: str) -> int:
    for (text, digits), (their_text, their_digits) in zip_longest(
        _PARTS.findall(one), _PARTS.findall(other), fillvalue=("", "")
    ):
        for mine, theirs in zip_longest(text, their_text, fillvalue=""):
            if mine != theirs:
                return _weight(mine) - _weight(theirs)
        difference = int(digits or 0) - int(their_digits or 0)
        if difference:
            return difference
    return 0


def _weight(letter: str) -> int:
    """A tilde sorts before the end, letters before all other signs."""
    if letter == "~":
        return -1
    if not letter:
        return 0
    return ord(letter) if letter.isalpha() else ord(letter) + 256
