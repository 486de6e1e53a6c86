"""Who is told how long it took to rule on a call, and until that was durable."""

from typing import Protocol


class Timing(Protocol):
    """See the module."""

    def decided(self, call_id: str, seconds: float) -> None:
        """Policy ruled."""

    def admitted(self, call_id: str, seconds: float) -> None:
        """The ruling is durable."""


class Timings:
    """All of these are, or nobody."""

    def __init__(self, *timings: Timing | None) -> None:
        self._timings = tuple(one for one in timings if one is not None)

    def decided(self, call_id: str, seconds: float) -> None:
        """Tells each."""
        for timing in self._timings:
            timing.decided(call_id, seconds)

    def admitted(self, call_id: str, seconds: float) -> None:
        """Tells each."""
        for timing in self._timings:
            timing.admitted(call_id, seconds)
