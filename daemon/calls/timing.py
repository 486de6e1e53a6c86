"""Who is told how long it took to rule on a call, and until that was durable."""

from typing import Protocol


class Timing(Protocol):
    """See the module."""

    def decided(self, seconds: float) -> None:
        """Policy ruled."""

    def admitted(self, seconds: float) -> None:
        """The ruling is durable."""


class Untimed:
    """Nobody is."""

    def decided(self, seconds: float) -> None:
        """Nothing."""

    def admitted(self, seconds: float) -> None:
        """Nothing."""
