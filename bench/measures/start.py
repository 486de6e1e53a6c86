"""From nothing to a daemon that serves, and what it holds then."""

import time
from collections.abc import Iterator

from bench.daemon import TOOL, finish
from bench.plan import Bench, Measure
from bench.result import Result, distribution, timing
from bench.sampling import Step, interleaved
from stockade.v1 import call_pb2

STARTS = 10
SETTLE_SECONDS = 0.5
MEGABYTE = 1e6


def run(bench: Bench) -> Iterator[Result]:
    """Starts one home again and again; after each start one call, then its memory."""
    daemon = bench.prepared()
    daemon.start()
    daemon.add_tool()
    daemon.stop()
    resident: list[float] = []

    def use_and_stop() -> None:
        with daemon.client() as client:
            finish(client, TOOL, {}, call_pb2.CALL_STATE_SUCCEEDED)
        time.sleep(SETTLE_SECONDS)
        resident.append(daemon.resident_bytes() / MEGABYTE)
        daemon.stop()

    starts = interleaved(bench.times(STARTS), 1, Step(daemon.start, after=use_and_stop))[0]
    yield timing("daemon.ready", "s", starts)
    yield distribution("daemon.rss_idle", "MB", resident[1:])


MEASURES = (Measure(("daemon.ready", "daemon.rss_idle"), run),)
