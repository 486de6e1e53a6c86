"""Whole calls over mTLS, each with its durable receipts, and bare bubblewrap beside them."""

import time
from collections.abc import Callable, Iterator

from bench.bubblewrap import BareBubblewrap
from bench.daemon import TOOL, WORKSPACE, finish
from bench.plan import Bench, Measure
from bench.result import Result, timing
from bench.sampling import Step, interleaved, sample
from stockade.v1 import call_pb2

WARM = 20
PAUSE_SECONDS = 0.04


def denied(bench: Bench) -> Iterator[Result]:
    """A writing tool in a read-only workspace: a forbid of the default policy says no."""
    arguments: dict[str, object] = {"command": "true", "workspace": WORKSPACE}
    with bench.daemon.client() as client:
        samples = sample(
            bench.times(3000),
            WARM,
            lambda: finish(client, "run_shell", arguments, call_pb2.CALL_STATE_DENIED),
        )
    yield timing("call.denied", "ms", samples)


def process(bench: Bench) -> Iterator[Result]:
    """A tool that runs /bin/true in the process tier, started ahead and not, and bubblewrap alone.

    Between calls there is a pause, as between those of an agent, so that what is done beside a call
    (taking down its sandbox, starting the next) is in nobody's time.
    """
    bare = BareBubblewrap(bench.daemon)
    unready = bench.prepared("[ready]\nper_profile = 0\n")
    unready.start()
    unready.add_tool()
    with bench.daemon.client() as client, unready.client() as cold_client:
        call, cold, alone = interleaved(
            bench.times(600),
            WARM,
            _paused(lambda: finish(client, TOOL, {}, call_pb2.CALL_STATE_SUCCEEDED)),
            _paused(lambda: finish(cold_client, TOOL, {}, call_pb2.CALL_STATE_SUCCEEDED)),
            Step(bare.run, bare.prepare, bare.clean),
        )
        steady = sample(
            bench.times(600),
            0,
            lambda: finish(client, TOOL, {}, call_pb2.CALL_STATE_SUCCEEDED),
        )
    yield timing("call.process.true", "ms", call, beside="bare.bwrap.true")
    yield timing("call.process.cold", "ms", cold, beside="bare.bwrap.true")
    yield timing("bare.bwrap.true", "ms", alone, beside="call.process.true")
    yield timing("call.process.back_to_back", "ms", steady, beside="call.process.true")


def _paused(run: Callable[[], object]) -> Step:
    return Step(run, after=lambda: time.sleep(PAUSE_SECONDS))


MEASURES = (
    Measure(("call.denied",), denied),
    Measure(
        (
            "call.process.true",
            "call.process.cold",
            "bare.bwrap.true",
            "call.process.back_to_back",
        ),
        process,
    ),
)
