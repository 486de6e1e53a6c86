"""Ten thousand policies put in force on a real daemon: how long, what calls notice, what they hold.

`policy.activate.stall` is the latency of calls that are made all the while, one every ten
milliseconds whether the last has ended or not; `policy.activate.calm` of as many before. Their
difference is what a call in flight can notice: `value` is by how much the slowest was slower. The
sets come from a program of their own that is connected already: neither its start nor its work on
what it sends is to be taken for the daemon's.
`policy.rss.10000` is what the daemon holds with them in force, beyond what it held before.
"""

import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from subprocess import PIPE

from bench.applier import messages
from bench.daemon import WORKSPACE, RunningDaemon, finish
from bench.plan import Bench, Measure
from bench.result import Result, distribution, timing
from bench.sampling import Samples, StepError
from stockade.client import Client
from stockade.errors import StockadeError
from stockade.v1 import call_pb2

COUNT = 10_000
TIMES = 5
CALM_SECONDS = 2.0  # for each time
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
            client.apply_policy(messages(0))
            files = messages(COUNT)
            began = time.perf_counter()
            client.apply_policy(files)
            taken.seconds.append(time.perf_counter() - began)
            held.append((daemon.own_bytes() - idle) / MEGABYTE)
    yield timing("policy.activate.10000", "s", taken)
    yield distribution("policy.rss.10000", "MB", held)
    calm, noticed = _noticed(daemon, bench.times(TIMES))
    daemon.remove()
    yield timing("policy.activate.calm", "ms", calm, beside="policy.activate.stall")
    stall = timing("policy.activate.stall", "ms", noticed, beside="policy.activate.calm")
    longer = max(noticed.seconds) - max(calm.seconds)
    yield replace(stall, value=max(0.0, longer) * 1000)


def _noticed(daemon: RunningDaemon, times: int) -> tuple[Samples, Samples]:
    """Calls while nothing changes, and as many while sets take turns."""
    command = [sys.executable, "-m", "bench.applier", str(daemon.root), str(times), str(COUNT)]
    with subprocess.Popen(command, stdin=PIPE, stdout=PIPE, text=True) as applier:
        assert applier.stdout
        applier.stdout.readline()
        calls = Calls(daemon)
        time.sleep(times * CALM_SECONDS)
        calm = calls.stop()
        calls = Calls(daemon)
        applier.communicate("now\n")
        return calm, calls.stop()


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
