"""Whole calls in containers and in gVisor, waiting and cold, beside the engine's own command line.

Each tier has daemons of its own whose floors send every tool there. Between calls there is a pause
in which what a call took from the waiting ones is replaced, as between the calls of an agent.
"""

import threading
import time
from collections.abc import Callable, Iterator, Mapping

from bench.daemon import TOOL, RunningDaemon, finish
from bench.engines import BareEngine, runtimes
from bench.plan import Bench, Measure
from bench.result import Result, timing
from bench.sampling import Samples, Step, interleaved
from stockade.client import Client
from stockade.home import Home
from stockade.v1 import call_pb2, tool_pb2

PYTHON_TOOL = "bench_python"
_PYTHON = f"""\
name = "{PYTHON_TOOL}"
version = "1.0.0"
summary = "Print one number, in Python."
toolset = "local"
runtime = "python"
argv = ["/usr/bin/python3", "-I", "-S", "-X", "utf8", "-c", "print(1)"]
[input]
type = "object"
[risk]
data_sensitivity = 0.0
"""
_FLOORS = {
    "container": "[risk]\ncontainer_floor = 0\n",
    "gvisor": "[risk]\ncontainer_floor = 0\ngvisor_floor = 0\n",
}
_COLD = "[containers]\nper_profile = 0\n"
_RUNTIMES = {"container": "runc", "gvisor": "runsc"}
_BARE = {"container": "bare.docker.true", "gvisor": "bare.runsc.true"}
PAUSE_SECONDS = 0.7
CLIENTS, CALLS_EACH = 20, 10


def collect(bench: Bench, tier: str, times: int) -> Mapping[str, Samples]:
    """All samples of one tier, by the name of their result; empty where the tier cannot be had."""
    if _RUNTIMES[tier] not in runtimes():
        return {}
    warm, cold = _daemon(bench, _FLOORS[tier]), _daemon(bench, _FLOORS[tier] + _COLD)
    bare = BareEngine(_RUNTIMES[tier])
    with warm.client() as ready, cold.client() as unready:
        steps = {
            f"call.{tier}.true": _call(ready, TOOL),
            f"call.{tier}.python": _call(ready, PYTHON_TOOL),
            f"call.{tier}.cold": _call(unready, TOOL),
            _BARE[tier]: Step(bare.run),
        }
        found = interleaved(times, 3, *steps.values())
    return dict(zip(steps, found, strict=True))


def _daemon(bench: Bench, settings: str) -> RunningDaemon:
    daemon = bench.prepared(settings)
    daemon.start()
    daemon.add_tool()
    file = tool_pb2.AddToolRequest.File(path="manifest.toml", content=_PYTHON.encode())
    with daemon.client() as client:
        client.add_tool([file])
    return daemon


def _call(client: Client, tool: str) -> Step:
    return Step(
        lambda: finish(client, tool, {}, call_pb2.CALL_STATE_SUCCEEDED),
        before=lambda: time.sleep(PAUSE_SECONDS),
    )


def _measured(tier: str) -> Callable[[Bench], Iterator[Result]]:
    def measure(bench: Bench) -> Iterator[Result]:
        for name, samples in collect(bench, tier, bench.times(40)).items():
            beside = f"call.{tier}.true" if name == _BARE[tier] else _BARE[tier]
            yield timing(name, "ms", samples, beside=beside)

    return measure


def crowd(bench: Bench) -> Iterator[Result]:
    """200 calls at once from 20 devices, in containers: each one's time, and the fairness."""
    if _RUNTIMES["container"] not in runtimes():
        return
    daemon = _daemon(bench, _FLOORS["container"])
    samples, totals = Samples(), []
    lock, go = threading.Lock(), threading.Event()
    began: list[float] = []

    def one(client: Client) -> None:
        go.wait()
        finish(client, TOOL, {}, call_pb2.CALL_STATE_SUCCEEDED)
        with lock:
            samples.seconds.append(time.perf_counter() - began[0])

    def of_one_client(home: Home) -> None:
        with Client.open(home) as client:
            mine = [threading.Thread(target=one, args=(client,)) for _ in range(CALLS_EACH)]
            for thread in mine:
                thread.start()
            for thread in mine:
                thread.join()
        with lock:
            totals.append(time.perf_counter() - began[0])

    homes = [daemon.pair_device(f"device-{number}", ["owners"]) for number in range(CLIENTS)]
    clients = [threading.Thread(target=of_one_client, args=(home,)) for home in homes]
    for thread in clients:
        thread.start()
    began.append(time.perf_counter())
    go.set()
    for thread in clients:
        thread.join()
    yield timing("load.container.200", "s", samples)
    fair = Samples([last / min(totals) for last in totals])
    yield timing("load.container.fairness", "x", fair)


MEASURES = (
    Measure(
        ("call.container.true", "call.container.python", "call.container.cold", "bare.docker.true"),
        _measured("container"),
    ),
    Measure(
        ("call.gvisor.true", "call.gvisor.python", "call.gvisor.cold", "bare.runsc.true"),
        _measured("gvisor"),
    ),
    Measure(("load.container.200", "load.container.fairness"), crowd),
)
