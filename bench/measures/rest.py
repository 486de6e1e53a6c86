"""A daemon that is left on: what it takes while nobody asks, and the call that comes after a rest.

Whatever has rested is slow at first, for caches are others' by then and a virtual processor has to
be woken. How slow is the machine's: a bare /bin/true beside it says that.
"""

import os
import time
from collections.abc import Iterator

from bench.daemon import WORKSPACE, finish
from bench.plan import Bench, Measure
from bench.result import Result, distribution, timing
from bench.sampling import Step, interleaved
from stockade.v1 import call_pb2

REST_SECONDS = 0.2
SETTLE_SECONDS = 2
WINDOWS, WINDOW_SECONDS = 5, 2


def idle(bench: Bench) -> Iterator[Result]:
    """Milliseconds of processor time a second, while one client is connected and asks nothing."""
    taken = []
    with bench.daemon.client() as client:
        client.who_am_i()
        time.sleep(SETTLE_SECONDS)
        for _ in range(bench.times(WINDOWS)):
            before = bench.daemon.processor_seconds()
            time.sleep(WINDOW_SECONDS)
            taken.append((bench.daemon.processor_seconds() - before) * 1000 / WINDOW_SECONDS)
    yield distribution("daemon.idle_cpu", "ms/s", taken)


def rested(bench: Bench) -> Iterator[Result]:
    """A denied call, and a process by itself, each after a fifth of a second without a request."""
    arguments: dict[str, object] = {"command": "true", "workspace": WORKSPACE}
    with bench.daemon.client() as client:
        call, spawned = interleaved(
            bench.times(150),
            3,
            Step(
                lambda: finish(client, "run_shell", arguments, call_pb2.CALL_STATE_DENIED),
                before=_rest,
            ),
            Step(_spawn, before=_rest),
        )
    yield timing("call.rested.denied", "ms", call, beside="bare.spawn.rested")
    yield timing("bare.spawn.rested", "ms", spawned, beside="call.rested.denied")


def _rest() -> None:
    time.sleep(REST_SECONDS)


def _spawn() -> None:
    os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)


MEASURES = (
    Measure(("daemon.idle_cpu",), idle),
    Measure(("call.rested.denied", "bare.spawn.rested"), rested),
)
