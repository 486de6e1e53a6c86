"""Kill -9 at any moment under mixed load, again and again: nothing that was told is lost.

`STOCKADE_KILLS` says how often (`make soak`: 1,000); `STOCKADE_SEED` repeats a run's choices. CI
makes the same ones each time.
"""

import os
import random
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.crashes.loop import Loop, looping
from tests.promises.acting import working_tiers
from tests.running import WITH_ENGINES, running

KILLS = int(os.environ.get("STOCKADE_KILLS", "100"))
ANY = 7 if os.environ.get("CI") == "true" else random.SystemRandom().randrange(2**32)
SEED = int(os.environ.get("STOCKADE_SEED", str(ANY)))
# A kill where calls run in containers, too, costs as much as eight others: looking at an engine
# after each start takes seconds.
ONE_IN = 8
BOXES = ("container", "gvisor")


def boxes_here() -> tuple[str, ...]:
    """The tiers of this machine's engine that work."""
    with running(WITH_ENGINES) as daemon, daemon.client() as client:
        works = working_tiers(client)
        return tuple(tier for tier in BOXES if works[tier])


def test_killed_at_any_moment_nothing_told_is_lost_and_nothing_is_left() -> None:
    """Two daemons at a time: one whose calls are in the process tier, one with all three tiers."""
    print(f"seed {SEED}, {KILLS} kills")  # noqa: T201 - shown when it fails
    chance, boxes = random.Random(SEED), boxes_here()  # noqa: S311
    if boxes != BOXES and os.environ.get("CI") == "true":
        pytest.fail(f"of the tiers of an engine only {boxes} work here")
    boxed = max(KILLS // ONE_IN, 1) if boxes else 0
    marks = (f"7{os.getpid()}", f"8{os.getpid()}")
    with (
        looping(random.Random(chance.random()), marks[0]) as plain,  # noqa: S311
        looping(random.Random(chance.random()), marks[1], boxes) as engines,  # noqa: S311
        ThreadPoolExecutor(2) as both,
    ):
        wanted = [(plain, KILLS - boxed), *([(engines, boxed)] if boxed else [])]
        for done in [both.submit(Loop.run, loop, kills) for loop, kills in wanted]:
            done.result()
        assert plain.kills + engines.kills >= KILLS
