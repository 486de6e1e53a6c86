"""The daemon's clock: wall time that never goes back while the daemon lives.

A wall clock that is set back must not give an approval, an invitation or a certificate time it did
not have. So time is the later of the wall clock and of what has passed, by the boot clock (which
counts suspension), since the start. Set forward, it is followed: things end early rather than late.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime


class Clock:
    """Milliseconds since 1970, UTC; not decreasing."""

    def __init__(
        self,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        boot_ms: Callable[[], int] = lambda: (
            time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
        ),
    ) -> None:
        self._wall_ms = wall_ms
        self._boot_ms = boot_ms
        self._offset = wall_ms() - boot_ms()

    def now_ms(self) -> int:
        """The time."""
        boot = self._boot_ms()
        # A jump forward is kept: the next jump back must not undo it.
        self._offset = max(self._offset, self._wall_ms() - boot)
        return boot + self._offset

    def now(self) -> datetime:
        """The time, as a datetime in UTC."""
        return datetime.fromtimestamp(self.now_ms() / 1000, UTC)
