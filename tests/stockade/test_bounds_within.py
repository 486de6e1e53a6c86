"""A bound within another covers nothing that the other does not."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from stockade.bounds import BoundError, covers, parse_bounds, within

TEXTS = st.sampled_from(["a", "a/b", "a/b/c", "ab", "a/../b", "b", "a/..", "/a", "1", ""])
NUMBERS = st.integers(-3, 3)
VALUES: st.SearchStrategy[Any] = st.one_of(TEXTS, NUMBERS, st.booleans())
BOUNDS: st.SearchStrategy[Any] = st.one_of(
    st.builds(lambda value: {"is": value}, VALUES),
    st.builds(lambda values: {"one_of": values}, st.lists(TEXTS, min_size=1, max_size=3)),
    st.builds(lambda path: {"below": path}, TEXTS),
    st.builds(
        lambda one, other: {"from": min(one, other), "to": max(one, other)}, NUMBERS, NUMBERS
    ),
    st.just({"any": True}),
)


def is_bound(bound: Any) -> bool:
    try:
        parse_bounds({"x": bound})
    except BoundError:
        return False
    return True


@given(BOUNDS.filter(is_bound), BOUNDS.filter(is_bound), VALUES)
def test_what_the_narrow_covers_the_wide_covers(narrow: Any, wide: Any, value: Any) -> None:
    """For every pair that is called within, and every value."""
    if within(narrow, wide) and covers(narrow, value):
        assert covers(wide, value)


@given(BOUNDS.filter(is_bound))
def test_a_bound_is_within_itself_and_within_anything(bound: Any) -> None:
    """And a truth value is no number, nor a number a text."""
    assert within(bound, bound)
    assert within(bound, {"any": True})
    assert not covers({"is": 1}, True)
    assert not covers({"from": 0, "to": 1}, True)
    assert not covers({"is": "1"}, 1)
