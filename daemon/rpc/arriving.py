"""Requests whose message is not there yet: so many late ones of one principal, each for a time.

What has come of a message lies in memory until the rest has, up to the longest message there is;
and a connection carries thousands of requests. Whoever never ends any must not have the daemon hold
all of them. Trusted to end what is too much by `LiveRpc.cut`. Belongs to the event loop; raises
nothing itself.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from daemon.errors import SOON_SECONDS, BadRequest, Exhausted, Fault, Unavailable
from daemon.rpc.live_rpcs import LiveRpc

# A message comes with its request, as good as always.
PROMPT_SECONDS: Final = 2.0
MOST_LATE: Final = 16
# The longest there is, by a line of a megabit a second.
LATE_SECONDS: Final = 150.0


class Arriving:
    """See the module."""

    def __init__(self) -> None:
        self._late: Counter[str] = Counter()

    @contextmanager
    def awaited(self, rpc: LiveRpc, *, more: bool = False) -> Iterator[None]:
        """While a message of a request is waited for: the first, or one `more` of a stream.

        Nobody can tell whether of that anything has come; so it has the same time.
        """
        wait = _Wait(rpc, self._late, _idle() if more else _never_came())
        try:
            yield
        finally:
            wait.end()


class _Wait:
    """For one message."""

    __slots__ = ("_end", "_is_late", "_late", "_loop", "_rpc", "_timer")

    def __init__(self, rpc: LiveRpc, late: Counter[str], end: Fault) -> None:
        self._end = end
        self._rpc, self._late, self._is_late = rpc, late, False
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(PROMPT_SECONDS, self._be_late)

    def _be_late(self) -> None:
        whose = self._rpc.principal.counted_as
        if self._late[whose] >= MOST_LATE:
            self._rpc.cut(_too_many(self._rpc))
            return
        self._is_late = True
        self._late[whose] += 1
        self._timer = self._loop.call_later(LATE_SECONDS, self._rpc.cut, self._end)

    def end(self) -> None:
        """It is there, or will never be."""
        self._timer.cancel()
        if self._is_late:
            whose = self._rpc.principal.counted_as
            self._late[whose] -= 1
            if not self._late[whose]:
                del self._late[whose]


def _too_many(rpc: LiveRpc) -> Exhausted:
    return Exhausted(
        f"{MOST_LATE} requests of {rpc.principal.shown} are on their way and not whole",
        code="TOO_MANY_UNFINISHED",
        fix="send each whole, and fewer large ones at a time",
        retry_seconds=SOON_SECONDS,
    )


def _never_came() -> BadRequest:
    return BadRequest(
        f"the request was not whole after {LATE_SECONDS:.0f} seconds",
        code="REQUEST_UNFINISHED",
        fix="send it again, by a line that is faster",
    )


def _idle() -> Unavailable:
    return Unavailable(
        f"nothing more was asked by this stream for {LATE_SECONDS:.0f} seconds",
        code="STREAM_IDLE",
        fix="open another when there is something to ask",
    )
