"""Long work in short pieces, and what it leaves behind as well."""

import weakref

from policy.pace import paced, taken


class Thing:
    """What can be seen to be let go of."""


def test_there_is_a_pause_after_every_few() -> None:
    """Whoever waits gets a word in, and every item comes, in its order."""
    pauses: list[None] = []
    paused = [
        (item, len(pauses)) for item in paced(range(10), lambda: pauses.append(None), every=4)
    ]
    assert paused == [(item, item // 4) for item in range(10)]


def test_what_is_taken_is_let_go_of_as_the_next_is_taken() -> None:
    """Not all at once at the end, while everybody waits."""
    things = [Thing() for _ in range(5)]
    seen = [weakref.ref(one) for one in things]
    for number, one in enumerate(taken(things)):
        assert one is seen[number]()
        assert [ref() is None for ref in seen].count(True) == number
    assert things == []
