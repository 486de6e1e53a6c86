"""What there is to measure, and what it is measured with."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from bench.daemon import RunningDaemon
from bench.result import Result

LONG = "long."
"""What names begin with of measures that take minutes to an hour, and gigabytes of disk."""


class Bench:
    """One run of the benchmarks: how often, and the daemon that several of them share."""

    def __init__(self, stack: ExitStack, cap: int | None) -> None:
        self._stack = stack
        self.cap = cap
        self._daemon: RunningDaemon | None = None

    def times(self, n: int) -> int:
        """So many repetitions, unless fewer were asked for on the command line."""
        return n if self.cap is None else min(n, self.cap)

    @property
    def daemon(self) -> RunningDaemon:
        """A daemon with its default policy and the tool `bench_true`."""
        if self._daemon is None:
            daemon = self.prepared()
            daemon.start()
            daemon.add_tool()
            self._daemon = daemon
        return self._daemon

    def prepared(self, settings: str = "") -> RunningDaemon:
        """A home of its own for a measure that changes or restarts the daemon; not started."""
        daemon = RunningDaemon(settings)
        self._stack.callback(daemon.remove)
        return daemon


@dataclass(frozen=True, slots=True)
class Measure:
    """The names it gives figures for, together because they are measured side by side."""

    names: tuple[str, ...]
    run: Callable[[Bench], Iterable[Result]]

    def wanted(self, prefix: str) -> bool:
        """Whether any of its names begins so; those that take an hour have to be asked for."""
        asked = prefix.startswith(LONG)
        return any(
            name.startswith(prefix) and name.startswith(LONG) <= asked for name in self.names
        )


@contextmanager
def bench(cap: int | None) -> Iterator[Bench]:
    """A run; what it started is ended and removed at the end."""
    with ExitStack() as stack:
        yield Bench(stack, cap)
