"""What some policies can tell one question from another by, and a question as they see it.

Of what hardly comes twice, a call's arguments and the time, that is what the policies make out
there (`policy.looks`); of all else that they look at, the bytes that the engine gets. Questions
that are the same to them have the same answer. Trusted to say so of no others, and to have no
argument in what it makes of a question, which may stay in memory. Where it cannot be told, nothing
is said, and the engine is asked each time. Raises what `orjson` does for a context that is none.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import orjson

from policy.bounded import Bounded
from policy.context import Context
from policy.looks import MAX_LOOKS, Look, looks_of, seen
from policy.tree import tree_of
from policy.values import EntityUid

# Attributes of contexts that differ from one question to the next.
FLEETING = frozenset({"arguments", "arguments_digest", "time", "clock", "waited"})
MAX_READ = 16_384  # policies whose looks are remembered
MAX_LOOKING = 64  # policies of one question that look there: to read one takes 0.1 ms
_MAX_TEXT = 512

_Looks = frozenset[Look] | None


class Put(NamedTuple):
    """A question, as far as the policies can tell it from others."""

    principal: EntityUid
    action: str
    resource: EntityUid
    context: bytes
    seen: tuple[Hashable, ...]


@dataclass(frozen=True, slots=True)
class Discernment:
    """What it is that some policies look at."""

    names: frozenset[str]
    """The attributes that count as they are."""
    looks: tuple[Look, ...]
    """What is made out of the others."""

    def put(
        self, principal: EntityUid, action: str, resource: EntityUid, context: Context
    ) -> Put | None:
        """The question as these policies see it; None where that cannot be told, or is long."""
        found = seen(self.looks, context.values_by_name) if self.looks else ()
        if found is None:
            return None
        text = orjson.dumps(context.only(self.names))
        return Put(principal, action, resource, text, found) if len(text) <= _MAX_TEXT else None


class LookedAt:
    """Of each policy of a set, what it looks at. Safe for threads."""

    def __init__(self, names: Sequence[frozenset[str] | None], texts: Sequence[str]) -> None:
        self._names = names
        self._texts = texts
        self._read: Bounded[int, tuple[_Looks]] = Bounded(MAX_READ, lambda _: 1)

    def names(self, numbers: Iterable[int]) -> frozenset[str] | None:
        """Which attributes of the context these look at, at most; None if that could be any."""
        found: set[str] = set()
        for number in numbers:
            if (names := self._names[number]) is None:
                return None
            found |= names
        return frozenset(found)

    def discernment(self, numbers: Iterable[int]) -> Discernment | None:
        """What these can tell contexts apart by; None where that is not known."""
        numbers = tuple(numbers)
        if (names := self.names(numbers)) is None:
            return None
        looking = [n for n in numbers if not FLEETING.isdisjoint(self._names[n] or ())]
        if len(looking) > MAX_LOOKING:
            return None
        found: set[Look] = set()
        for number in looking:
            if (looks := self._looks(number)) is None:
                return None
            found |= looks
            if len(found) > MAX_LOOKS:
                return None
        return Discernment(names - FLEETING, tuple(found))

    def _looks(self, number: int) -> _Looks:
        if (known := self._read.get(number)) is None:
            # Of bounded depth, as everything that was admitted.
            known = (looks_of(tree_of(self._texts[number]), FLEETING),)
            self._read.put(number, known)
        return known[0]
