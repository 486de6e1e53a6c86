"""When memory is given back: after it has grown, when it grows no more, and not again and again."""

from itertools import pairwise

import hypothesis.strategies as st
from hypothesis import given

from daemon.memory import GROWTH, STILL, Watermark, resident_bytes

BASE = 100 * 1024 * 1024


def test_it_waits_until_the_growth_is_over() -> None:
    """While memory grows nothing is done; once it stays, it is asked for, once."""
    mark = Watermark.at(BASE)
    assert not mark.due(BASE)
    assert not mark.due(BASE + 2 * GROWTH)
    assert not mark.due(BASE + 3 * GROWTH)
    assert mark.due(BASE + 3 * GROWTH)
    mark.trimmed(BASE + GROWTH // 2)
    assert not mark.due(BASE + GROWTH // 2)


def test_what_is_in_use_is_not_asked_for_again() -> None:
    """If a trim gave nothing back, the next is due after as much growth again."""
    mark = Watermark.at(BASE)
    mark.due(BASE + 2 * GROWTH)
    assert mark.due(BASE + 2 * GROWTH)
    mark.trimmed(BASE + 2 * GROWTH)
    for _ in range(100):
        assert not mark.due(BASE + 2 * GROWTH)
    assert not mark.due(BASE + 3 * GROWTH + 2 * STILL)
    assert mark.due(BASE + 3 * GROWTH + 2 * STILL)


@given(st.lists(st.integers(0, 40), max_size=60))
def test_never_more_often_than_memory_grows(looks: list[int]) -> None:
    """Between two trims that gave nothing back lies the growth that makes one worth it."""
    mark, at = Watermark.at(BASE), list[int]()
    for steps in looks:
        resident = BASE + steps * GROWTH // 4
        if mark.due(resident):
            at.append(resident)
            mark.trimmed(resident)
        else:
            at = [before for before in at if before <= resident]
    assert all(later - earlier >= GROWTH for earlier, later in pairwise(at))


def test_the_real_figure() -> None:
    """This process has a plausible size."""
    assert 10 * 1024 * 1024 < resident_bytes() < 64 * 1024**3
