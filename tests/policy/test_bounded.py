"""What is kept is never more than it was told to be."""

from hypothesis import given
from hypothesis import strategies as st

from policy.bounded import Bounded


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 20))), st.integers(0, 30))
def test_the_weight_stays_within_bounds_unless_one_entry_alone_is_heavier(
    puts: list[tuple[int, int]], capacity: int
) -> None:
    """However entries come, are replaced and weigh, the sum is right and within the capacity."""
    kept: Bounded[int, int] = Bounded(capacity, lambda value: value)
    last: dict[int, int] = {}
    for key, value in puts:
        kept.put(key, value)
        last[key] = value
        assert kept.get(key) == value
        there = {k: v for k in last if (v := kept.get(k)) is not None}
        assert kept.weight == sum(there.values())
        assert kept.weight <= capacity or len(kept) == 1
        assert all(last[k] == v for k, v in there.items())


def test_what_was_used_last_is_forgotten_last() -> None:
    """A question that is asked all the time keeps its slice."""
    kept: Bounded[str, int] = Bounded(2, lambda _: 1)
    kept.put("a", 1)
    kept.put("b", 2)
    assert kept.get("a") == 1
    kept.put("c", 3)
    assert (kept.get("a"), kept.get("b"), kept.get("c")) == (1, None, 3)


def test_what_was_used_last_can_be_asked_for() -> None:
    """The very last one first, and no more than wanted."""
    kept: Bounded[str, int] = Bounded(9, lambda _: 1)
    for key in "abc":
        kept.put(key, 1)
    assert kept.get("a") == 1
    assert (kept.recent(2), kept.recent(9)) == (["a", "c"], ["a", "c", "b"])


def test_what_is_large_is_forgotten_in_pieces() -> None:
    """Between pieces others get a word in; in the end nothing is left, nor what they put."""
    kept: Bounded[int, int] = Bounded(1000, lambda _: 2)
    for key in range(100):
        kept.put(key, key)
    sizes: list[int] = []

    def pause() -> None:
        sizes.append(len(kept))
        if len(sizes) == 1:
            kept.put(1000, 1)

    kept.forget(pause)
    assert (len(kept), kept.weight) == (0, 0)
    assert sizes == sorted(sizes, reverse=True)
    assert len(sizes) > 5
