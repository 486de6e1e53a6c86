"""How long a tool that was a bomb rests: by a clock that stands still unless it is moved."""

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.calls.rests import Rests

pytestmark = pytest.mark.anyio


class Clock:
    """Moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


async def begins(rests: Rests, who: str) -> bool:
    """Whether a run begins now; one that has to rest is given up."""
    began = anyio.Event()

    async def call() -> None:
        await rests.turn(who)
        began.set()

    async with anyio.create_task_group() as group:
        group.start_soon(call)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    return began.is_set()


async def test_who_was_killed_rests_and_nobody_else() -> None:
    """Another tool of the same caller, and the same tool of another caller, begin at once."""
    clock = Clock()
    rests = Rests(10, clock)
    assert rests.may_begin("one")
    rests.killed("one")
    assert not rests.may_begin("one")
    assert not await begins(rests, "one")
    assert rests.may_begin("other")
    assert await begins(rests, "other")
    clock.now += 10
    assert await begins(rests, "one")


async def test_until_one_ends_well_they_begin_one_after_another() -> None:
    """Two hundred that waited do not begin together when the rest is over."""
    clock = Clock()
    rests = Rests(10, clock)
    rests.killed("one")
    clock.now += 10
    assert await begins(rests, "one")
    assert not await begins(rests, "one")
    clock.now += 10
    assert await begins(rests, "one")
    rests.ended_well("one")
    assert rests.may_begin("one")
    assert await begins(rests, "one")
    assert await begins(rests, "one")


async def test_one_that_ends_well_lets_all_go_that_wait() -> None:
    """Those that rest learn of it; the first that came is the first that goes."""
    rests, order = Rests(3600), list[int]()
    rests.killed("one")

    async def call(number: int) -> None:
        await rests.turn("one")
        order.append(number)

    async with anyio.create_task_group() as group:
        for number in range(5):
            group.start_soon(call, number)
        await anyio.wait_all_tasks_blocked()
        assert order == []
        rests.ended_well("one")
    assert order == list(range(5))


async def test_a_turn_of_a_rest_that_is_forgiven_does_not_hold_over_a_new_one() -> None:
    """As many kills as then, but after a good end: they are others."""
    clock = Clock()
    rests = Rests(10, clock)
    rests.killed("one")
    clock.now += 11
    turn = await rests.turn("one")
    assert rests.holds("one", turn)
    rests.ended_well("one")
    assert rests.holds("one", turn)
    rests.killed("one")
    assert not rests.holds("one", turn)


async def test_a_turn_does_not_hold_over_another_kill() -> None:
    """Who waits for a place after its turn, and whose like is killed meanwhile, rests again."""
    rests = Rests(10, Clock())
    turn = await rests.turn("one")
    assert rests.holds("one", turn)
    rests.killed("one")
    assert not rests.holds("one", turn)
    rests.ended_well("one")
    assert rests.holds("one", turn)


@settings(max_examples=10)
@given(st.integers(1, 40))
def test_twice_as_long_each_time_within_bounds(kills: int) -> None:
    """The nth rest is twice the one before, sixteen times the first at most."""

    async def story() -> None:
        clock = Clock()
        rests = Rests(1, clock)
        for _ in range(kills):
            rests.killed("one")
        length = min(2 ** (kills - 1), 16)
        clock.now += length - 0.5
        assert not await begins(rests, "one")
        clock.now += 0.5
        assert await begins(rests, "one")

    anyio.run(story)


async def test_nothing_rests_where_that_is_off() -> None:
    """0 seconds: no call is held up, and nobody is remembered."""
    rests = Rests(0)
    rests.killed("one")
    assert rests.may_begin("one")
    assert await begins(rests, "one")


async def test_what_is_remembered_is_bounded() -> None:
    """However many there are; who was killed last still rests, who waits is not forgotten."""
    clock = Clock()
    rests = Rests(10, clock)
    rests.killed("first")
    async with anyio.create_task_group() as group:
        group.start_soon(rests.turn, "first")
        await anyio.wait_all_tasks_blocked()
        for number in range(3000):
            rests.killed(str(number))
        assert not rests.may_begin("first")
        assert not rests.may_begin("2999")
        assert rests.may_begin("0")
        group.cancel_scope.cancel()
    clock.now += 1000
    rests.killed("last")
    assert rests.may_begin("2999")
