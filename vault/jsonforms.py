"""A value as it stands inside a JSON string, the ways Python, JavaScript, PHP and Go write it.

Pure. What is made on the way is overwritten, as in `vault.forms`.
"""

from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import Final

from vault.burn import burn

_SHORT: Final = {
    '"': b'\\"',
    "\\": b"\\\\",
    "\n": b"\\n",
    "\r": b"\\r",
    "\t": b"\\t",
    "\f": b"\\f",
    "\b": b"\\b",
}
# What else is written otherwise: by nobody, with a slash before it, as \u.
_STYLES: Final = ("", "/", "<>&\u2028\u2029")
_DIGITS: Final = ("%04x", "%04X")


def json_forms(value: bytes) -> Iterator[bytes]:
    """Each way of writing it, without the quotes; the same one may come more than once."""
    try:
        text = value.decode("utf-8")
    except UnicodeDecodeError:
        text = value.decode("latin-1")  # how such bytes get into a JSON string at all
    try:
        for ascii_only, style, digit in _ways(text):
            yield b"".join(map(_way(ascii_only, style, digit).__getitem__, text))
    finally:
        burn(text)


def _ways(text: str) -> Iterator[tuple[bool, str, str]]:
    """The ways that can differ for this text."""
    styles = [style for style in _STYLES if not style or any(char in text for char in style)]
    beyond = not text.isascii() or "\x7f" in text
    escaped = beyond or len(styles) > 1 or not text.isprintable()
    return product(
        (True, False) if beyond else (True,), styles, _DIGITS if escaped else _DIGITS[:1]
    )


class _Way(dict[str, bytes]):
    """Every character as one way writes it."""

    def __init__(self, ascii_only: bool, style: str, digit: str) -> None:
        self._ascii_only, self._style, self._digit = ascii_only, style, digit
        super().__init__((char, self[char]) for char in map(chr, range(256)))

    def __missing__(self, char: str) -> bytes:
        if char in _SHORT:
            return _SHORT[char]
        if char in self._style:
            return b"\\/" if char == "/" else _escaped(char, self._digit)
        if char < " " or (self._ascii_only and char > "~"):
            return _escaped(char, self._digit)
        return char.encode("utf-8")


@cache
def _way(ascii_only: bool, style: str, digit: str) -> _Way:
    return _Way(ascii_only, style, digit)


def _escaped(char: str, digit: str) -> bytes:
    units = char.encode("utf-16-be")
    pairs = (units[at : at + 2] for at in range(0, len(units), 2))
    return b"".join(b"\\u" + (digit % int.from_bytes(pair, "big")).encode() for pair in pairs)
