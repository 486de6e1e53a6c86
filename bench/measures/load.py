"""A thousand decisions a second from ten clients: open loop, mTLS, every receipt durable.

The clients are processes of this machine, so they take processor time from the daemon they measure.
"""

import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator

import psutil

from bench.plan import Bench, Measure
from bench.result import Result, distribution, rate, timing
from bench.sampling import Samples

CLIENTS, PER_CLIENT, SECONDS = 10, 100, 60
LEAD_SECONDS = 8.0
_MB = 1e6


def decisions(bench: Bench) -> Iterator[Result]:
    """Ten clients, each a hundred times a second, for a minute."""
    daemon = bench.prepared()
    daemon.start()
    seconds = bench.times(SECONDS)
    before = psutil.Process(daemon.pid).cpu_times()
    start = time.time() + LEAD_SECONDS
    # In turn: ten clients know nothing of each other, and do not all ask at one moment.
    turns = [start + number / (CLIENTS * PER_CLIENT) for number in range(CLIENTS)]
    callers = [
        subprocess.Popen(
            [sys.executable, "-m", "bench.caller", str(daemon.home.config), str(turn),
             str(PER_CLIENT), str(seconds)],
            stdout=subprocess.PIPE, text=True,
        )
        for turn in turns
    ]  # fmt: skip
    answers = [json.loads(caller.communicate()[0]) for caller in callers]
    after, memory = (
        psutil.Process(daemon.pid).cpu_times(),
        psutil.Process(daemon.pid).memory_info().rss,
    )
    together = Samples(
        [one for answer in answers for one in answer["times"]],
        sum((Counter(answer["failed"]) for answer in answers), Counter()),
    )
    elapsed = max(answer["ended"] for answer in answers) - start
    yield timing("load.1000rps", "ms", together)
    reached = len(together.seconds) / elapsed
    yield rate("load.1000rps.reached", "calls/s", [reached], failed=together.failed)
    used = after.user + after.system - before.user - before.system
    yield distribution("load.1000rps.cpu", "ms", [used / len(together.seconds) * 1e3])
    yield distribution("load.1000rps.rss", "MB", [memory / _MB])


MEASURES = (
    Measure(
        ("load.1000rps", "load.1000rps.reached", "load.1000rps.cpu", "load.1000rps.rss"),
        decisions,
    ),
)
