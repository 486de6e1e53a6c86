"""From nothing to a daemon that serves, and what it holds then."""

import time
from collections.abc import Iterator

from bench.daemon import TOOL, finish
from bench.plan import Bench, Measure
from bench.result import Result, distribution, timing
from bench.sampling import Step, interleaved
from stockade.v1 import call_pb2

STARTS = 10
SETTLE_SECONDS = 1.5  # by then the engines have been looked at
MEGABYTE = 1e6


NO_ENGINE = '[containers]\nsocket = "/nonexistent/docker.sock"\n'


def run(bench: Bench) -> Iterator[Result]:
    """Starts two homes again and again, without Docker Engine and with; then what they hold.

    Where there is no engine the second is like the first.
    """
    alone, engines = _Home(bench, NO_ENGINE), _Home(bench, "")
    starts, with_engines = interleaved(bench.times(STARTS), 1, alone.step(), engines.step())
    yield timing("daemon.ready", "s", starts)
    yield timing("daemon.ready.engines", "s", with_engines, beside="daemon.ready")
    yield distribution("daemon.rss_idle", "MB", alone.resident[1:])
    yield distribution(
        "daemon.rss_idle.engines", "MB", engines.resident[1:], beside="daemon.rss_idle"
    )


class _Home:
    """A home that is started, called once, measured and stopped."""

    def __init__(self, bench: Bench, settings: str) -> None:
        self._daemon = bench.prepared(settings)
        self._daemon.start()
        self._daemon.add_tool()
        self._daemon.stop()
        self.resident: list[float] = []

    def step(self) -> Step:
        """The start is timed; the rest comes after."""
        return Step(self._daemon.start, after=self._use_and_stop)

    def _use_and_stop(self) -> None:
        with self._daemon.client() as client:
            finish(client, TOOL, {}, call_pb2.CALL_STATE_SUCCEEDED)
        time.sleep(SETTLE_SECONDS)
        self.resident.append(self._daemon.resident_bytes() / MEGABYTE)
        self._daemon.stop()


MEASURES = (
    Measure(
        ("daemon.ready", "daemon.ready.engines", "daemon.rss_idle", "daemon.rss_idle.engines"), run
    ),
)
