"""A measure in a process of its own, so that its figures do not depend on what was measured before.

What one leaves behind (a heap in pieces, caches that are full of something else) is not there for
the next. Whatever ends the process early ends the benchmark.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from functools import partial
from multiprocessing import get_context

from bench.plan import Bench
from bench.result import Result

Run = Callable[[Bench], Iterable[Result]]


def apart(run: Run) -> Run:
    """The same measure, there. It shares no daemon with others."""
    return partial(_elsewhere, run)


def _elsewhere(run: Run, bench: Bench) -> list[Result]:
    # Spawned: one that was forked would begin with all that this one holds.
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(_taken, run, bench.cap).result()


def _taken(run: Run, cap: int | None) -> list[Result]:
    with ExitStack() as stack:
        return list(run(Bench(stack, cap)))
