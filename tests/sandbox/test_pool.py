"""The pool of started sandboxes: each box to one taker, bounded, learned, and nothing left."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sandbox.pool import Pool, PoolSettings

pytestmark = pytest.mark.anyio

SMALL = PoolSettings(per_profile=3, total=4, starts=2, rest_seconds=0, look_seconds=0.01)


@dataclass
class Box:
    profile: str
    number: int
    alive: bool = True


@dataclass
class Maker:
    """Makes boxes, and knows of each what became of it."""

    made: list[Box] = field(default_factory=list)
    ended: list[Box] = field(default_factory=list)
    under_way: int = 0
    most: int = 0
    error: Exception | None = None
    pause: float = 0.0

    async def start(self, profile: str) -> Box:
        self.under_way += 1
        self.most = max(self.most, self.under_way)
        try:
            await anyio.sleep(self.pause)
            if self.error is not None:
                raise self.error
        finally:
            self.under_way -= 1
        box = Box(profile, len(self.made))
        self.made.append(box)
        return box

    async def end(self, box: Box) -> None:
        await anyio.lowlevel.checkpoint()
        assert box not in self.ended, "ended twice"
        self.ended.append(box)

    def pool(
        self, chosen: PoolSettings, clock: Callable[[], float] = anyio.current_time
    ) -> Pool[str, Box]:
        return Pool(self.start, lambda box: box.alive, self.end, chosen, clock)


@asynccontextmanager
async def kept(pool: Pool[str, Box]) -> AsyncIterator[None]:
    async with anyio.create_task_group() as group:
        group.start_soon(pool.keep)
        await anyio.lowlevel.checkpoint()
        yield
        group.cancel_scope.cancel()


async def until(true: Callable[[], bool]) -> None:
    with anyio.fail_after(60):
        while not true():  # noqa: ASYNC110 - what is waited for has no event
            await anyio.sleep(0.001)


async def test_what_was_asked_for_in_vain_is_ready_the_next_time() -> None:
    """A profile that nobody asked for costs nothing; one that was asked for is kept ready."""
    maker = Maker()
    pool = maker.pool(SMALL)
    async with kept(pool):
        await anyio.sleep(0.02)
        assert maker.made == []
        assert pool.ready("a") is None
        await until(lambda: pool.waiting == 1)
        box = pool.ready("a")
        assert box is not None
        assert box.profile == "a"
        assert pool.ready("b") is None
    assert box not in maker.ended
    assert sorted(b.number for b in maker.ended) == [b.number for b in maker.made if b is not box]


async def test_a_box_is_given_to_one_taker_only() -> None:
    """However many ask at once, no two get the same box, and none comes back."""
    maker = Maker(pause=0.001)
    pool = maker.pool(SMALL)
    given: list[Box] = []

    async def taker() -> None:
        for _ in range(20):
            given.append(await pool.take("a"))  # noqa: PERF401 - one after the other

    async with kept(pool), anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(taker)
    assert len(given) == 200
    assert len({box.number for box in given}) == 200
    assert not set(map(id, given)) & set(map(id, maker.ended))


async def test_no_more_are_started_at_once_than_is_allowed() -> None:
    """Starts cost a core each: those who wait are served in order, so many at a time."""
    maker = Maker(pause=0.005)
    pool = maker.pool(SMALL)
    async with kept(pool), anyio.create_task_group() as group:
        for number in range(12):
            group.start_soon(pool.take, f"p{number % 3}")
    assert maker.most == SMALL.starts


async def test_what_waits_is_bounded() -> None:
    """No profile has more than its share, and all together no more than the total."""
    maker = Maker()
    pool = maker.pool(SMALL)
    async with kept(pool):
        for _ in range(30):
            for profile in "abcdef":
                pool.ready(profile)
            await anyio.sleep(0.001)
            assert pool.waiting <= SMALL.total
        for _ in range(10):
            pool.ready("z")
        await until(lambda: pool.waiting == SMALL.total)
        await anyio.sleep(0.05)
        assert pool.waiting <= SMALL.total
        left = [box.profile for box in maker.made if box not in maker.ended]
        assert left.count("z") == SMALL.per_profile


async def test_old_and_forgotten_boxes_are_ended() -> None:
    """A box has an age, and a profile that nobody asks for loses its boxes."""
    maker, now = Maker(), [0.0]
    chosen = PoolSettings(
        per_profile=1, age_seconds=10, idle_seconds=25, rest_seconds=0, look_seconds=0.005
    )
    pool = maker.pool(chosen, lambda: now[0])
    async with kept(pool):
        assert pool.ready("a") is None
        await until(lambda: pool.waiting == 1)
        now[0] = 11.0
        await until(lambda: len(maker.ended) == 1 and pool.waiting == 1)
        assert maker.made[1] not in maker.ended
        now[0] = 26.0
        await until(lambda: len(maker.ended) == 2)
        await anyio.sleep(0.02)
        assert pool.waiting == 0
        assert len(maker.made) == 2


async def test_a_dead_box_is_not_given() -> None:
    """A sandbox that died while it waited is replaced, not used."""
    maker = Maker()
    pool = maker.pool(PoolSettings(per_profile=1, look_seconds=60))
    async with kept(pool):
        pool.ready("a")
        await until(lambda: pool.waiting == 1)
        maker.made[0].alive = False
        assert pool.ready("a") is None
        await until(lambda: pool.waiting == 1)
        assert pool.ready("a") is maker.made[1]
        assert maker.ended == [maker.made[0]]


async def test_what_cannot_be_started_is_an_error_for_who_waits_and_for_no_one_else() -> None:
    """The taker gets the error of the start; nothing is tried again until somebody asks."""
    maker = Maker(error=OSError("no"))
    pool = maker.pool(SMALL)
    async with kept(pool):
        with pytest.raises(OSError, match="no"):
            await pool.take("a")
        maker.error = None
        await anyio.sleep(0.03)
        assert maker.made == []
        assert (await pool.take("a")).profile == "a"


async def test_a_taker_that_gives_up_leaves_nothing_behind() -> None:
    """Cancelled while it waits: its box is kept for the next or ended, never lost."""
    maker = Maker(pause=0.01)
    pool = maker.pool(SMALL)
    async with kept(pool):
        given_away = []
        for patience in (0.0, 0.005, 0.0101, 0.0, 0.02):
            with anyio.move_on_after(patience):
                given_away.append(await pool.take("a"))
    numbers = [box.number for box in (*given_away, *maker.ended)]
    assert sorted(numbers) == [box.number for box in maker.made]


async def test_when_its_owner_ends_no_box_is_left() -> None:
    """Also one that is being started at that moment."""
    maker = Maker(pause=0.002)
    pool = maker.pool(SMALL)
    async with kept(pool):
        for _ in range(4):
            pool.ready("a")
        await until(lambda: bool(maker.made))
    assert maker.under_way == 0
    assert sorted(b.number for b in maker.ended) == [b.number for b in maker.made]
    assert pool.waiting == 0


async def test_a_pool_that_nobody_keeps_starts_on_demand() -> None:
    """Without its owner there is nothing ready, and still what is asked for."""
    maker = Maker()
    pool = maker.pool(SMALL)
    assert pool.ready("a") is None
    assert (await pool.take("a")).profile == "a"
    assert len(maker.made) == 1


Step = tuple[str, int]


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.tuples(st.sampled_from("rtkx"), st.integers(0, 3)), max_size=40),
    per_profile=st.integers(0, 3),
    total=st.integers(0, 4),
)
def test_every_box_is_given_once_or_ended_once(
    steps: list[Step], per_profile: int, total: int
) -> None:
    """Whatever is asked, killed and given up, in whatever order: nothing twice, nothing lost."""
    maker = Maker()
    given_away: list[Box] = []

    async def story() -> None:
        pool = maker.pool(PoolSettings(per_profile, total, 2, rest_seconds=0, look_seconds=0.001))
        async with kept(pool):
            for kind, number in steps:
                profile = f"p{number}"
                if kind == "k" and maker.made:
                    maker.made[-1].alive = False
                elif kind == "x":
                    with anyio.move_on_after(0):
                        given_away.append(await pool.take(profile))
                elif kind == "t":
                    given_away.append(await pool.take(profile))
                elif (box := pool.ready(profile)) is not None:
                    given_away.append(box)
                await anyio.lowlevel.checkpoint()
                assert pool.waiting <= total

    anyio.run(story)
    numbers = [box.number for box in (*given_away, *maker.ended)]
    assert sorted(numbers) == [box.number for box in maker.made]


async def test_a_box_is_replaced_after_a_rest() -> None:
    """Not while whoever took it is using it; but one that somebody waits for, at once."""
    maker, now = Maker(), [0.0]
    chosen = PoolSettings(per_profile=1, rest_seconds=10, look_seconds=0.005, idle_seconds=1000)
    pool = maker.pool(chosen, lambda: now[0])
    async with kept(pool):
        assert pool.ready("a") is None
        await anyio.sleep(0.03)
        assert maker.made == []
        assert (await pool.take("b")).profile == "b"
        now[0] = 10.0
        await until(lambda: {box.profile for box in maker.made[1:]} == {"a", "b"})


async def test_askers_who_wait_are_served_in_turn() -> None:
    """Ten of one that came first do not hold up the two of another, who came later."""
    maker, order = Maker(), list[str]()
    pool = maker.pool(PoolSettings(per_profile=0, starts=1, rest_seconds=0, look_seconds=0.005))

    async def one(asker: str) -> None:
        await pool.put_away(await pool.take("a", asker))
        order.append(asker)

    async with kept(pool), anyio.create_task_group() as group:
        for _ in range(10):
            group.start_soon(one, "much")
        await anyio.lowlevel.checkpoint()
        for _ in range(2):
            group.start_soon(one, "little")
    assert len(order) == 12
    assert [at for at, asker in enumerate(order) if asker == "little"][-1] < 6, order


async def test_a_used_box_is_taken_down_after_a_rest() -> None:
    """Not while whoever used it tells its end; but at once when the owner ends."""
    maker = Maker()
    pool = maker.pool(PoolSettings(rest_seconds=0.02, look_seconds=0.005))
    async with kept(pool):
        box = await pool.take("a")
        await pool.put_away(box)
        assert box not in maker.ended
        await until(lambda: box in maker.ended)
        other = await pool.take("a")
        pool = maker.pool(PoolSettings(rest_seconds=60))
    async with kept(pool):
        await pool.put_away(other)
        assert other not in maker.ended
    assert other in maker.ended


async def test_a_box_that_is_ready_after_the_pool_was_emptied_is_ended() -> None:
    """Nobody would find it any more: neither to use it nor to end it."""
    maker = Maker()
    pool = maker.pool(SMALL)
    start = maker.start

    async def emptied_meanwhile(profile: str) -> Box:
        box = await start(profile)
        await pool._end_all()
        return box

    pool._start = emptied_meanwhile
    async with anyio.create_task_group() as group:
        group.start_soon(pool.keep)
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(RuntimeError, match="the pool has ended"):
            await pool.take("a")
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert maker.made
    assert maker.ended == maker.made


async def test_who_asks_a_pool_that_is_ending_gets_none_of_its_boxes() -> None:
    """Alive or dead, they are being ended; and what was never asked for before disturbs nothing."""
    maker = Maker()
    pool = maker.pool(SMALL)
    asked: list[Box | None] = []

    async def asked_meanwhile(box: Box) -> None:
        for other in maker.made:
            other.alive = not other.alive
        asked.extend((pool.ready("a"), pool.ready(f"new {box.number}")))
        await maker.end(box)

    pool._discard = asked_meanwhile
    async with kept(pool):
        for _ in range(3):
            pool.ready("a")
        await until(lambda: pool.waiting == 3)
    assert asked == [None] * 6
    assert sorted(b.number for b in maker.ended) == [b.number for b in maker.made]
