"""From a person's yes to the start of the tool that waited for it."""

import threading
import time
from collections.abc import Iterator

from bench.plan import Bench, Measure
from bench.result import Result, timing
from bench.sampling import Samples
from stockade.client import Client
from stockade.v1 import call_pb2

ROUNDS = 100
SECONDS = 30


def run(bench: Bench) -> Iterator[Result]:
    """One device asks, another says yes: from sending the answer to the asker's `started`."""
    approver_home = bench.daemon.pair_device("approver", ["approvers"])
    samples = Samples()
    with bench.daemon.client() as caller, Client.open(approver_home) as approver:
        for _ in range(2):
            _round(caller, approver, Samples())
        for _ in range(bench.times(ROUNDS)):
            _round(caller, approver, samples)
    yield timing("approval.resume", "ms", samples)


def _round(caller: Client, approver: Client, samples: Samples) -> None:
    waiting, started = threading.Event(), threading.Event()
    seen: dict[str, float] = {}
    events: list[call_pb2.CallEvent] = []

    def follow() -> None:
        for event in caller.call("run_shell", {"command": "true"}):
            if event.HasField("started"):
                seen["started"] = time.perf_counter()
                started.set()
            events.append(event)
            waiting.set() if event.HasField("awaiting_approval") else None
        started.set()

    thread = threading.Thread(target=follow)
    thread.start()
    if not waiting.wait(SECONDS):
        raise RuntimeError("the call does not wait for approval")
    approval_id = events[-1].awaiting_approval.approval_id
    approval = approver.get_approval(approval_id)
    began = time.perf_counter()
    approver.answer_approval(approval, approve=True)
    started.wait(SECONDS)
    samples.seconds.append(seen.get("started", time.perf_counter()) - began)
    thread.join(SECONDS)
    if "started" not in seen:
        samples.failed[events[-1].finished.reason or "NOT_STARTED"] += 1


MEASURES = (Measure(("approval.resume",), run),)
