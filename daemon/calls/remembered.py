"""Ended calls whose events are kept for those who come back: so many, and so much of them."""

from daemon.calls.live import LiveCall

MAX_CALLS = 256
MAX_BYTES = 32 * 1024 * 1024


class Remembered:
    """See the module. The oldest go first."""

    def __init__(self) -> None:
        self._calls: dict[str, LiveCall] = {}
        self._bytes = 0

    def get(self, call_id: str) -> LiveCall | None:
        """The call, if it is still remembered."""
        return self._calls.get(call_id)

    def put(self, live: LiveCall) -> None:
        """Remembers a call that has just ended."""
        self._calls[live.call_id] = live
        self._bytes += live.bytes_held
        while len(self._calls) > MAX_CALLS or self._bytes > MAX_BYTES:
            oldest = self._calls.pop(next(iter(self._calls)))
            self._bytes -= oldest.bytes_held
