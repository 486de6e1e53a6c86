"""The engine's answers that were given before, to questions that are the same in all it sees.

What the engine answers depends on the policies, the entities, and the principal, action, resource
and attributes of the question, and on nothing else. One memory belongs to one decision point, whose
policies and entities never change; the rest is the key, byte for byte as the engine gets it. So
what is remembered is what the engine would say again. Trusted to keep no answer with an error in
it, and none that arguments or the time could have had a part in: those hardly come twice, and
arguments do not lie about in memory for it. Raises nothing.
"""

from typing import Generic, NamedTuple, TypeVar

from policy.bounded import Bounded
from policy.pace import Pause
from policy.values import EntityUid

# Of some 1 KB each.
MAX_ANSWERS = 8192
_MAX_TEXT = 512
# Attributes of contexts that differ from one question to the next.
FLEETING = frozenset({"arguments", "arguments_digest", "time", "clock", "waited"})

A = TypeVar("A")


class Put(NamedTuple):
    """A question as the engine gets it; `context` is the JSON of what the policies look at."""

    principal: EntityUid
    action: str
    resource: EntityUid
    context: str


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

    def keep(self, put: Put, looked_at: frozenset[str] | None, answer: A) -> None:
        """Remembers an answer without errors, if the same question is likely to come again."""
        if looked_at is not None and looked_at.isdisjoint(FLEETING) and len(put[3]) <= _MAX_TEXT:
            self._kept.put(put, answer)

    def forget(self, pause: Pause) -> None:
        """Forgets them all, a little at a time."""
        self._kept.forget(pause)
