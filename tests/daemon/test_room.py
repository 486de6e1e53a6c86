"""Room for open calls: shared so that whoever comes next has some."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from daemon.calls.room import Room


@given(
    st.integers(256, 1000),
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 500), st.booleans()), max_size=60),
)
def test_whoever_comes_next_has_room(most: int, steps: list[tuple[str, int, bool]]) -> None:
    """Three devices take and give: no more is taken than there is, and a fourth has some."""
    room, held = Room(most), Counter[str]()
    for device, times, takes in steps:
        for _ in range(times):
            if takes and room.has(device, 1):
                room.take(device, 1)
                held[device] += 1
            elif not takes and held[device]:
                room.give_back(device, 1)
                held[device] -= 1
        assert held.total() <= most
        assert room.has("d", 1)


def test_one_alone_has_three_quarters_and_the_next_three_quarters_of_the_rest() -> None:
    """The share of who came first shrinks with what others take; what it has stays its own."""
    room = Room(64)
    assert fill(room, "a") == 48
    assert fill(room, "b") == 12
    assert fill(room, "c") == 3
    room.give_back("a", 48)
    assert fill(room, "a") == 36


def fill(room: Room, device: str) -> int:
    """Takes one after another; how many there were."""
    taken = 0
    while room.has(device, 1):
        room.take(device, 1)
        taken += 1
    return taken


def test_the_first_may_be_as_large_as_all_that_is_free() -> None:
    """One large call is served where there is room for it; a second large one is not."""
    room = Room(100)
    assert not room.has("a", 101)
    assert room.has("a", 100)
    room.take("a", 60)
    assert not room.has("a", 60)
    assert room.has("a", 15)
    assert room.has("b", 40)
