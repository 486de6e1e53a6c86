"""Ten thousand policies put in force on a real daemon: how long, what calls notice, what they hold.

`policy.activate.stall` is the latency of calls that are made all the while, one every ten
milliseconds whether the last has ended or not; `policy.activate.calm` of the same before. Their
difference is what a call in flight can notice: `value` is by how much the slowest was slower.
`policy.rss.10000` is what the daemon holds with them in force, beyond what it held before.
"""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from bench import policies
from bench.daemon import WORKSPACE, RunningDaemon, finish
from bench.plan import Bench, Measure
from bench.result import Result, distribution, timing
from bench.sampling import Samples, StepError
from stockade.client import Client
from stockade.errors import StockadeError
from stockade.v1 import call_pb2, policy_pb2

COUNT = 10_000
TIMES = 5
CALM_SECONDS = 3.0
EVERY_SECONDS = 0.01
CALLERS = 8
MEGABYTE = 1e6


class Calls:
    """Denied calls, open loop, from threads of this process, until told to stop."""

    def __init__(self, daemon: RunningDaemon) -> None:
        self.samples = Samples()
        self._clients = [daemon.client() for _ in range(CALLERS)]
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> Samples:
        """What they took."""
        self._stopped.set()
        self._thread.join()
        for client in self._clients:
            client.close()
        return self.samples

    def _run(self) -> None:
        due, number = time.perf_counter(), 0
        with ThreadPoolExecutor(CALLERS * 4) as threads:
            while not self._stopped.wait(max(0.0, due - time.perf_counter())):
                threads.submit(self._call, self._clients[number % CALLERS], due)
                due, number = due + EVERY_SECONDS, number + 1

    def _call(self, client: Client, due: float) -> None:
        try:
            deny(client)
        except (StepError, StockadeError) as error:
            self.samples.failed[getattr(error, "reason", str(error))] += 1
        self.samples.seconds.append(time.perf_counter() - due)


def deny(client: Client) -> None:
    """A call that a forbid of the default policy refuses, to its end."""
    arguments: dict[str, object] = {"command": "true", "workspace": WORKSPACE}
    finish(client, "run_shell", arguments, call_pb2.CALL_STATE_DENIED)


def activate(bench: Bench) -> Iterator[Result]:
    """Sends ten thousand policies, again and again, until they are in force and recorded."""
    daemon = bench.prepared()
    daemon.start()
    held: list[float] = []
    taken = Samples()
    with daemon.client() as client:
        for _ in range(20):
            deny(client)
        idle = daemon.own_bytes()
        for _ in range(bench.times(TIMES)):
            # Else all but one would be known from the set before.
            client.apply_policy(_files(0))
            files = _files(COUNT)
            began = time.perf_counter()
            client.apply_policy(files)
            taken.seconds.append(time.perf_counter() - began)
            held.append((daemon.own_bytes() - idle) / MEGABYTE)
    yield timing("policy.activate.10000", "s", taken)
    yield distribution("policy.rss.10000", "MB", held)
    calm, noticed = _calm(daemon), _noticed(daemon, bench.times(TIMES))
    daemon.remove()
    yield timing("policy.activate.calm", "ms", calm, beside="policy.activate.stall")
    stall = timing("policy.activate.stall", "ms", noticed, beside="policy.activate.calm")
    longer = max(noticed.seconds) - max(calm.seconds)
    yield replace(stall, value=max(0.0, longer) * 1000)


def _calm(daemon: RunningDaemon) -> Samples:
    calls = Calls(daemon)
    time.sleep(CALM_SECONDS)
    return calls.stop()


def _noticed(daemon: RunningDaemon, times: int) -> Samples:
    """Other programs put sets in force: nothing but calls is done in this one."""
    folders = [_folder(daemon, 0), _folder(daemon, COUNT)]
    calls = Calls(daemon)
    for number in range(2 * times):
        daemon.run("policy", "apply", str(folders[number % 2]))
    return calls.stop()


def _folder(daemon: RunningDaemon, count: int) -> Path:
    place = daemon.root / f"policies-{count}"
    place.mkdir()
    for name, text in policies.policy_files(count).items():
        (place / name).write_text(text)
    return place


def _files(count: int) -> list[policy_pb2.PolicyFile]:
    """As many policies; of none, the default ones."""
    files = policies.policy_files(count)
    return [policy_pb2.PolicyFile(name=name, text=text) for name, text in files.items()]


MEASURES = (
    Measure(
        (
            "policy.activate.10000",
            "policy.activate.calm",
            "policy.activate.stall",
            "policy.rss.10000",
        ),
        activate,
    ),
)
