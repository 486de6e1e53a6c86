"""Overwriting what Python calls immutable, once nobody needs it any more.

Python's allocator gives memory back as it was: a `bytes` that held a secret can be read in a core
image long after it was freed. `burn` fills the object's own buffer with zeros. It is for objects
that this process has just made and is about to drop: one that somebody else still holds would
change under their hands. Objects of up to one character are Python's own, shared by all, and are
left as they are.

The layout of the objects is CPython's; it is looked at once, when this module is loaded, and where
it is not as expected nothing is overwritten (`WORKS` says so). Raises nothing.
"""

import ctypes
import sys
from typing import Final

_BYTES_HEADER: Final = bytes.__basicsize__ - 1
_ASCII_HEADER: Final = sys.getsizeof("") - 1
_WIDE_HEADER: Final = sys.getsizeof("\u0100") - 2 * 2


def burn(*things: bytes | bytearray | memoryview | str) -> None:
    """Overwrite each with zeros."""
    for thing in things:
        if isinstance(thing, bytearray | memoryview):
            thing[:] = bytes(len(thing))
        elif WORKS and len(thing) > 1:
            start, size = _place(thing)
            ctypes.memset(start, 0, size)


def _place(thing: bytes | str) -> tuple[int, int]:
    """Where its content lies, and how much there is."""
    if isinstance(thing, bytes):
        return id(thing) + _BYTES_HEADER, len(thing)
    if thing.isascii():
        return id(thing) + _ASCII_HEADER, len(thing)
    widest = max(thing)
    width = 1 if widest < "\u0100" else 2 if widest < "\U00010000" else 4
    return id(thing) + _WIDE_HEADER, len(thing) * width


def _as_expected() -> bool:
    """Whether contents are where this module looks for them."""
    if sys.implementation.name != "cpython":
        return False
    order = sys.byteorder
    samples: dict[bytes | str, bytes] = {
        b"burn": b"burn",
        "burn": b"burn",
        "bur\xfc": b"bur\xfc",
        "bur\u0100": b"".join(ord(c).to_bytes(2, order) for c in "bur\u0100"),
        "bur\U00010000": b"".join(ord(c).to_bytes(4, order) for c in "bur\U00010000"),
    }
    return all(ctypes.string_at(*_place(thing)) == raw for thing, raw in samples.items())


WORKS: Final = _as_expected()
