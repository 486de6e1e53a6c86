"""The engine's answers that were given before, to questions that no policy can tell apart.

What the engine answers depends on the policies, the entities, and the principal, action, resource
and attributes of the question, and on nothing else. One memory belongs to one decision point, whose
entities never change; the rest is the key (`policy.discernment`), which of its policies were asked
too. So what is remembered is what the engine would say again. Whoever keeps an answer sees to it
that there is no error in it. Raises nothing.
"""

from typing import Generic, TypeVar

from policy.bounded import Bounded
from policy.discernment import Put
from policy.pace import Pause

# Of some 1 KB each.
MAX_ANSWERS = 8192

A = TypeVar("A")


class Answers(Generic[A]):
    """Answers of one decision point."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: Bounded[Put, A] = Bounded(MAX_ANSWERS, lambda _: 1)

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, put: Put) -> A | None:
        """The answer it had, if that is remembered."""
        return self._kept.get(put)

    def keep(self, put: Put, answer: A) -> None:
        """Remembers an answer that has no errors."""
        self._kept.put(put, answer)

    def forget(self, pause: Pause) -> None:
        """Forgets them all, a little at a time."""
        self._kept.forget(pause)
