"""RPCs a second, closed loop: each caller has a connection of its own and asks again when answered.

The RPC is WhoAmI: certificate, policy's yes, a small answer, nothing stored. The callers are
threads of one Python process on the same machine, so at 50 the figure is also their limit.
"""

import threading
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial

from bench.plan import Bench, Measure
from bench.result import Result, rate, timing
from bench.sampling import Samples
from stockade.client import Client
from stockade.errors import StockadeError

SECONDS = 6.0
WINDOW = 0.5


def run(callers: int, bench: Bench) -> Iterator[Result]:
    """So many callers for some seconds."""
    clients = [bench.daemon.client() for _ in range(callers)]
    try:
        for client in clients:
            client.who_am_i()
        # With a cap on repetitions, each caller asks that often and no more.
        limit = bench.times(10**9)
        taken = [Samples() for _ in clients]
        began = time.perf_counter()
        ends: list[list[float]] = [[] for _ in clients]
        threads = [
            threading.Thread(target=_ask, args=(*given, began + SECONDS, limit))
            for given in zip(clients, taken, ends, strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        elapsed = time.perf_counter() - began
    finally:
        for client in clients:
            client.close()
    together = Samples(
        [seconds for one in taken for seconds in one.seconds],
        sum((one.failed for one in taken), Counter()),
    )
    finished = [end - began for one in ends for end in one]
    yield rate(
        f"rpc.rate_{callers}",
        "calls/s",
        _windows(finished, elapsed),
        value=len(finished) / elapsed,
        failed=together.failed,
    )
    yield timing(f"rpc.latency_{callers}", "ms", together)


def _ask(client: Client, samples: Samples, ends: list[float], until: float, limit: int) -> None:
    while len(samples.seconds) < limit and (began := time.perf_counter()) < until:
        try:
            client.who_am_i()
        except StockadeError as error:
            samples.failed[error.reason] += 1
        else:
            ends.append(time.perf_counter())
        samples.seconds.append(time.perf_counter() - began)


def _windows(finished: list[float], elapsed: float) -> list[float]:
    """The rate in each whole window; over all, if there is not even one."""
    whole = int(elapsed / WINDOW)
    if not whole:
        return [len(finished) / elapsed]
    counts = Counter(int(end / WINDOW) for end in finished)
    return [counts[window] / WINDOW for window in range(whole)]


MEASURES = tuple(
    Measure((f"rpc.rate_{callers}", f"rpc.latency_{callers}"), partial(run, callers))
    for callers in (1, 50)
)
