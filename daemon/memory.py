"""Giving memory back that the allocator keeps after a flood.

glibc keeps what was freed in pieces: after ten thousand connections that led nowhere the daemon
would hold 400 MB for ever. `malloc_trim` gives it back, in a tenth of a second during which others
may have to wait for memory; so it is asked for only after a start, and after real growth when that
is over. On another C library nothing is done. Raises nothing.
"""

import ctypes
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread
import structlog

from daemon import start_pages

_log = structlog.get_logger("stockade")

# By then the tiers have been examined, and the first runs started ahead.
START_SECONDS = 1.0
LOOK_SECONDS = 10.0
# So much more than after the last time, before it is worth a tenth of a second.
GROWTH = 64 * 1024 * 1024
# More growth than this since the last look, and whatever makes it grow is not over.
STILL = 1024 * 1024
_STATM = Path("/proc/self/statm")


@dataclass(slots=True)
class Watermark:
    """When to trim, from what is resident at each look."""

    kept: int
    last: int

    @classmethod
    def at(cls, resident: int) -> "Watermark":
        """Beginning now."""
        return cls(resident, resident)

    def due(self, resident: int) -> bool:
        """Whether it grew, and grows no more."""
        grows, self.last = resident > self.last + STILL, resident
        self.kept = min(self.kept, resident)
        return not grows and resident >= self.kept + GROWTH

    def trimmed(self, resident: int) -> None:
        """What is resident after a trim is in use, whatever there was before."""
        self.kept = self.last = resident


def resident_bytes() -> int:
    """What this process has in memory; 0 where it cannot be told."""
    try:
        return int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


async def give_back() -> None:
    """What the start left over, then every few seconds a look, for as long as the daemon serves."""
    trim = _malloc_trim()
    if trim is None:
        return
    await anyio.sleep(START_SECONDS)
    before = resident_bytes()
    await anyio.to_thread.run_sync(_leave_start, trim)
    mark = Watermark.at(resident_bytes())
    _log.debug("memory.start_given_back", before=before, after=mark.kept)
    while True:
        await anyio.sleep(LOOK_SECONDS)
        before = resident_bytes()
        if mark.due(before):
            await anyio.to_thread.run_sync(trim)
            mark.trimmed(resident_bytes())
            _log.info("memory.given_back", before=before, after=mark.kept)


def _leave_start(trim: Callable[[], object]) -> None:
    trim()
    start_pages.let_go()


def _malloc_trim() -> Callable[[], object] | None:
    """glibc's; called without the interpreter's lock."""
    try:
        function = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None
    function.argtypes, function.restype = [ctypes.c_size_t], ctypes.c_int
    return lambda: function(0)
