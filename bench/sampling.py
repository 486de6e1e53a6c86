"""Taking samples: one thing often, or several in turn so that the machine's moods reach them all.

A step that does not do what it should raises `StepError`; it is counted under its reason and its
time stays among the others. Anything else ends the benchmark: a figure of a broken step is none.
"""

import gc
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field


class StepError(Exception):
    """A step that did not come to what is measured; its text is the reason it is counted under."""


@dataclass(slots=True)
class Samples:
    """Seconds of every step, and the reasons of those that failed."""

    seconds: list[float] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Step:
    """What is timed, and what has to be made ready before it and taken away after it, untimed."""

    run: Callable[[], object]
    before: Callable[[], object] = lambda: None
    after: Callable[[], object] = lambda: None

    def take(self, samples: Samples) -> None:
        """Runs it once."""
        self.before()
        began = time.perf_counter()
        try:
            self.run()
        except StepError as error:
            samples.failed[str(error)] += 1
        finally:
            samples.seconds.append(time.perf_counter() - began)
            self.after()


def interleaved(n: int, warm: int, *steps: Step) -> list[Samples]:
    """A B A B ..., `n` of each, after `warm` rounds that do not count."""
    for _ in range(warm):
        for step in steps:
            step.take(Samples())
    collected = [Samples() for _ in steps]
    gc.collect()
    for _ in range(n):
        for step, samples in zip(steps, collected, strict=True):
            step.take(samples)
    return collected


def sample(n: int, warm: int, run: Callable[[], object]) -> Samples:
    """One step, `n` times."""
    return interleaved(n, warm, Step(run))[0]
