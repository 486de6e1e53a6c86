"""Long work in short pieces, so that whoever shares the interpreter is not kept waiting.

Ten thousand policies take seconds to look at. Between pieces of well under a millisecond the caller
gets a word in: the daemon's lets its event loop run. Pure; raises what `pause` raises.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")
Pause = Callable[[], None]

PIECE = 16  # of what takes some 30 us each
LIGHT = 128  # of what takes some 5 us each


def no_pause() -> None:
    """For whoever has the interpreter to itself."""


def paced(items: Iterable[T], pause: Pause, every: int = PIECE) -> Iterator[T]:
    """The items, with a pause after every few."""
    for number, item in enumerate(items, 1):
        yield item
        if not number % every:
            pause()


def taken(items: list[T]) -> Iterator[T]:
    """The items in their order, each let go of as the next is taken; of the list nothing is left.

    Ten thousand that are let go of at once are ten milliseconds in which nobody else has a turn.
    """
    items.reverse()
    while items:
        yield items.pop()
