"""Memory for keys and values: out of swap, out of core dumps, overwritten when it is given back.

Trusted to keep what it holds in pages of its own, which the kernel is asked not to write to swap
(mlock) and not to put into a core dump (MADV_DONTDUMP). Where the process has used up what it may
lock (`ulimit -l`), the page is not locked, and `locked` says so: a secret in memory that could be
swapped is better than a call that fails. Raises nothing of its own.
"""

import contextlib
import ctypes
import mmap
from typing import Final, final

_LIBC: Final = ctypes.CDLL(None, use_errno=True)
_LIBC.mlock.argtypes = _LIBC.munlock.argtypes = (ctypes.c_void_p, ctypes.c_size_t)


@final
class Page:
    """Some bytes in memory of their own."""

    __slots__ = ("_map", "locked", "size")

    def __init__(self, size: int) -> None:
        self.size: Final = size
        # Private: a child that was forked and has not yet become another program shares nothing.
        self._map = mmap.mmap(-1, max(size, 1), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._map.madvise(mmap.MADV_DONTDUMP)
        self.locked: Final = self._call(_LIBC.mlock)

    @classmethod
    def holding(cls, value: bytes | bytearray | memoryview) -> "Page":
        """A page with a copy of the value."""
        page = cls(memoryview(value).nbytes)
        page.view()[:] = value
        return page

    def view(self) -> memoryview:
        """The bytes themselves, not a copy: they are zero once the page is wiped."""
        return memoryview(self._map)[: self.size]

    def wipe(self) -> None:
        """Overwrite the content, and give the memory back unless somebody still looks at it."""
        if self._map.closed:
            return
        self._map[:] = bytes(len(self._map))
        self._call(_LIBC.munlock)
        # A view of it may be held somewhere: that sees zeros, and closes it at its own end.
        with contextlib.suppress(BufferError):
            self._map.close()

    def __del__(self) -> None:
        # Absent where the memory could not be had.
        if hasattr(self, "_map"):
            self.wipe()

    def _call(self, act: "ctypes._NamedFuncPointer") -> bool:
        here = ctypes.c_char.from_buffer(self._map)
        done: int = act(ctypes.addressof(here), len(self._map))
        return done == 0
