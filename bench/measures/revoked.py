"""How soon nothing of a device's is done any more, once somebody revokes it.

From asking for the revocation until the process of its running tool is gone, which is looked for
every millisecond; the answer, and the end of the call, may come a little later.
"""

import threading
import time
from collections.abc import Iterator
from itertools import count

import psutil

from bench.daemon import RunningDaemon
from bench.plan import Bench, Measure
from bench.result import Result, timing
from bench.sampling import Step, StepError, interleaved
from stockade.client import Client
from stockade.credentials import load_credentials
from stockade.v1 import tool_pb2

TIMES, SECONDS = 20, 10.0
_MANIFEST = """\
name = "bench_sleep"
version = "1.0.0"
summary = "Sleep."
toolset = "local"
argv = ["/bin/sleep", "1234.5"]
[input]
type = "object"
[risk]
data_sensitivity = 0.0
"""
_SLEEPS = ["/bin/sleep", "1234.5"]


def run(bench: Bench) -> Iterator[Result]:
    """One device after the other, each with a call that runs."""
    daemon = bench.prepared()
    daemon.start()
    with daemon.client() as owner:
        file = tool_pb2.AddToolRequest.File(path="manifest.toml", content=_MANIFEST.encode())
        owner.add_tool([file])
        [samples] = interleaved(bench.times(TIMES), 1, _revoking(daemon, owner))
    yield timing("identity.cut.tool", "ms", samples)


class _Running:
    """What one repetition needs from its preparation."""

    tool: psutil.Process
    asking: threading.Thread


def _revoking(daemon: RunningDaemon, owner: Client) -> Step:
    running, number = _Running(), count()

    def call() -> None:
        home = daemon.pair_device(f"revoked-{next(number)}", ["callers"])
        with Client.open(home) as client:
            next(iter(client.call("bench_sleep", {}, detach=True)))
        running.tool = _sleeper()
        device_id = load_credentials(home.client).device_id
        running.asking = threading.Thread(target=owner.revoke_device, args=(device_id,))

    def revoke() -> None:
        running.asking.start()
        ends = time.monotonic() + SECONDS
        while running.tool.is_running():
            if time.monotonic() > ends:
                raise StepError("STILL_RUNNING")
            time.sleep(0.001)

    return Step(revoke, call, lambda: running.asking.join())


def _sleeper() -> psutil.Process:
    """The tool's process; the one before it is gone."""
    ends = time.monotonic() + SECONDS
    while time.monotonic() < ends:
        for one in psutil.process_iter(["cmdline"]):
            if one.info["cmdline"] == _SLEEPS:
                return one
        time.sleep(0.01)
    raise RuntimeError("the tool does not run")


MEASURES = (Measure(("identity.cut.tool",), run),)
