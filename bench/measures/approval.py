"""From a person's yes to the start of the tool that waited for it."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from bench.plan import Bench, Measure
from bench.result import Result, distribution, timing
from bench.sampling import Samples
from stockade.client import Client
from stockade.v1 import call_pb2

ROUNDS = 100
PENDING = 10_000
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


def pending(bench: Bench) -> Iterator[Result]:
    """Ten thousand detached calls that wait: to list a page, to decide one, their memory."""
    count = bench.times(PENDING)
    daemon = bench.prepared("[approvals]\nlifetime_seconds = 86400\n")
    daemon.start()
    approver_home = daemon.pair_device("approver", ["approvers"])
    listing, deciding = Samples(), Samples()
    with daemon.client() as caller, Client.open(approver_home) as approver:
        for _ in range(10):
            _leave(caller)
        time.sleep(1)
        idle = daemon.own_bytes()
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: _leave(caller), range(count)))
        time.sleep(1)
        grown = daemon.own_bytes() - idle
        for _ in range(min(count, ROUNDS)):
            began = time.perf_counter()
            page = approver.list_approvals()
            listing.seconds.append(time.perf_counter() - began)
            began = time.perf_counter()
            approver.answer_approval(page[0], approve=False)
            deciding.seconds.append(time.perf_counter() - began)
    megabytes = [grown / 1e6]
    yield timing("approval.pending_10000.list", "ms", listing)
    yield timing("approval.pending_10000.decide", "ms", deciding)
    yield distribution("approval.pending_10000.memory", "MB", megabytes)


def _leave(caller: Client) -> None:
    """A call that waits and that nobody looks at."""
    events = caller.call("run_shell", {"command": "true"}, detach=True)
    for event in events:
        if event.HasField("awaiting_approval"):
            break
    events.cancel()


MEASURES = (
    Measure(("approval.resume",), run),
    Measure(
        (
            "approval.pending_10000.list",
            "approval.pending_10000.decide",
            "approval.pending_10000.memory",
        ),
        pending,
    ),
)
