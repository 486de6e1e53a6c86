"""Alerts by a program of the operator's: the alert as JSON on its standard input.

It is never a shell, and no argument of it comes from an alert. Leaves OSError.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sandbox import operator_program


@dataclass(frozen=True, slots=True)
class Program:
    """What is started for each alert, and for how long it may run."""

    argv: Sequence[str]
    seconds: float
    # Where the daemon's keys are: not there for it.
    data: Path

    @property
    def place(self) -> str:
        """Without its arguments."""
        return self.argv[0]

    async def deliver(self, body: bytes) -> None:
        """Starts it and waits; OSError if it did not end with 0."""
        hidden = (str(self.data.resolve()),)
        await operator_program.run(self.argv, body + b"\n", seconds=self.seconds, hidden=hidden)
