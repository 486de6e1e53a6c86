"""Whole calls over mTLS, each with its durable receipts, and bare bubblewrap beside them."""

from collections.abc import Iterator

from bench.bubblewrap import BareBubblewrap
from bench.daemon import TOOL, WORKSPACE, finish
from bench.plan import Bench, Measure
from bench.result import Result, timing
from bench.sampling import Step, interleaved, sample
from stockade.v1 import call_pb2

WARM = 20


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
    """A tool that runs /bin/true in the process tier, and bubblewrap alone."""
    bare = BareBubblewrap(bench.daemon)
    with bench.daemon.client() as client:
        call, alone = interleaved(
            bench.times(600),
            WARM,
            Step(lambda: finish(client, TOOL, {}, call_pb2.CALL_STATE_SUCCEEDED)),
            Step(bare.run, bare.prepare, bare.clean),
        )
    yield timing("call.process.true", "ms", call, beside="bare.bwrap.true")
    yield timing("bare.bwrap.true", "ms", alone, beside="call.process.true")


MEASURES = (
    Measure(("call.denied",), denied),
    Measure(("call.process.true", "bare.bwrap.true"), process),
)
