"""Places among the running: bounded, and given in turn."""

from collections import Counter

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.calls.places import Places

pytestmark = pytest.mark.anyio


@given(
    total=st.integers(1, 5),
    asked=st.lists(st.integers(0, 4), min_size=1, max_size=40),
    gone=st.sets(st.integers(0, 39)),
)
def test_never_more_than_there_are_and_one_for_each(
    total: int, asked: list[int], gone: set[int]
) -> None:
    """Whoever asks in whatever order, and goes away meanwhile: the rest get theirs, bounded."""
    places, running, served = Places(total), set[str](), set[str]()

    async def call(name: str, asker: int, scope: anyio.CancelScope) -> None:
        with scope:
            await places.take(name, asker)
            running.add(name)
            assert len(running) <= total
            await anyio.lowlevel.checkpoint()
            running.discard(name)
            served.add(name)
        places.leave(name)

    async def story() -> None:
        async with anyio.create_task_group() as group:
            scopes = [anyio.CancelScope() for _ in asked]
            for number, (asker, scope) in enumerate(zip(asked, scopes, strict=True)):
                group.start_soon(call, str(number), asker, scope)
            await anyio.lowlevel.checkpoint()
            for number in gone & set(range(len(asked))):
                running.discard(str(number))
                scopes[number].cancel()

    anyio.run(story)
    assert served >= {str(number) for number in range(len(asked)) if number not in gone}
    assert all(places.take_now(f"after {number}", 0) for number in range(total))
    assert not places.take_now("one more", 0)


async def test_who_asks_for_much_waits_for_its_own() -> None:
    """A hundred calls of one that came first do not hold up the one call of another."""
    places, order = Places(2), list[str]()

    async def call(name: str, asker: str) -> None:
        await places.take(name, asker)
        order.append(asker)
        await anyio.lowlevel.checkpoint()
        places.leave(name)

    async with anyio.create_task_group() as group:
        for number in range(100):
            group.start_soon(call, str(number), "much")
        await anyio.lowlevel.checkpoint()
        group.start_soon(call, "other", "little")
    assert len(order) == 101
    assert order.index("little") < 6


async def test_in_turn() -> None:
    """Of several that ask for as much, each has had as many as any other, give or take one."""
    places, order = Places(3), list[int]()

    async def call(name: str, asker: int) -> None:
        await places.take(name, asker)
        order.append(asker)
        await anyio.lowlevel.checkpoint()
        places.leave(name)

    async with anyio.create_task_group() as group:
        for asker in range(5):
            for number in range(10):
                group.start_soon(call, f"{asker}.{number}", asker)
    for length in range(10, 51, 5):
        had = Counter(order[:length])
        assert max(had.values()) - min(had[asker] for asker in range(5)) <= 3, order
