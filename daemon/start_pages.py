"""Letting go of the pages that a start touched, once it is over.

Most of the machine code that the libraries brought into memory ran once: while they were loaded,
while policy was compiled. Those pages are the files' own; unmapped, they are the kernel's to keep
in its page cache or to use for something better, and what does run comes back at its next use, in
half a microsecond a page while it is cached. 30 MB of resident memory, counted as `ps` does.

Trusted to name none but mappings that nobody writes to: executable, private, of a file. Read-only
data is left alone, for the loader has written to some of it before it became read-only. Raises
nothing; elsewhere than on Linux nothing is done.
"""

import ctypes
from collections.abc import Iterator
from pathlib import Path

_MAPS = Path("/proc/self/maps")
_CODE = "r-xp"
_DONTNEED = 4  # MADV_DONTNEED


def code_mappings(maps: str) -> Iterator[tuple[int, int]]:
    """Start and size of each mapping of a file's machine code, in the form of proc(5)."""
    for line in maps.splitlines():
        span, permissions, *rest = line.split(None, 5)
        if permissions == _CODE and len(rest) > 3 and rest[3].startswith("/"):
            start, end = (int(edge, 16) for edge in span.split("-"))
            yield start, end - start


def let_go() -> None:
    """Unmaps them; a few milliseconds, without the interpreter's lock."""
    try:
        maps, advise = _MAPS.read_text(), ctypes.CDLL(None).madvise
    except (OSError, ValueError, AttributeError):
        return
    advise.argtypes, advise.restype = [ctypes.c_size_t, ctypes.c_size_t, ctypes.c_int], ctypes.c_int
    for start, size in code_mappings(maps):
        advise(start, size, _DONTNEED)  # a refusal leaves them where they are
