"""What some policies can tell one question from another by, and a question as they see it.

Of what hardly comes twice, a call's arguments and the time, that is what the policies make out
there (`policy.looks`); of all else that they look at, the bytes that the engine gets. Questions
that are the same to them have the same answer. Trusted to say so of no others, and to have no
argument in what it makes of a question, which may stay in memory. Where it cannot be told, nothing
is said, and the engine is asked each time. Raises what `orjson` does for a context that is none.
"""

import sys
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import orjson
from cedarpy import pst

from policy.bounded import Bounded
from policy.context import Context
from policy.kinds import Has
from policy.looks import MAX_LOOKS, Look, looks_of, seen
from policy.tree import nodes, tree_of
from policy.values import EntityUid

# Attributes of contexts that differ from one question to the next.
FLEETING = frozenset({"arguments", "arguments_digest", "time", "clock", "waited"})
MAX_READ = 16_384  # policies whose looks are remembered
MAX_LOOKING = 64  # policies of one question that look there: to read one takes 0.1 ms
_MAX_TEXT = 512
_ACTION = pst.Var("action")

Numbers = tuple[int, ...]
T = TypeVar("T")


class Put(NamedTuple):
    """A question, as far as the policies can tell it from others."""

    policies: object
    """Which were asked: what others say of the same question is another answer."""
    principal: EntityUid
    action: str
    resource: EntityUid
    context: bytes
    seen: tuple[Hashable, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Discernment:
    """What it is that some policies look at. Equal to no other, which is of other policies."""

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
        if len(text) > _MAX_TEXT:
            return None
        return Put(self, principal, action, resource, text, found)


class _Read(NamedTuple):
    """What was read of one policy."""

    looks: frozenset[Look] | None
    at_action: bool
    """Whether its conditions look at the action, too."""
    clock: frozenset[str] | None
    """Which parts of the clock it looks at, at most; None if that could be any."""

    @property
    def is_unsure(self) -> bool:
        """Whether there are contexts in which it cannot be told what it sees."""
        return self.looks is None or any(look.is_unsure for look in self.looks)


class LookedAt:
    """Of each policy of a set, what it looks at. Safe for threads."""

    def __init__(self, names: Sequence[frozenset[str] | None], texts: Sequence[str]) -> None:
        self._names = names
        self._texts = texts
        self._known: Bounded[int, _Read] = Bounded(MAX_READ, lambda _: 1)

    def names(self, numbers: Iterable[int]) -> frozenset[str] | None:
        """Which attributes of the context these look at, at most; None if that could be any."""
        return _together(self._names[number] for number in numbers)

    def clock(self, numbers: Numbers) -> frozenset[str] | None:
        """Which parts of the clock these look at, at most; None if that could be any."""
        looking = [n for n in numbers if (at := self._names[n]) is None or "clock" in at]
        if len(looking) > MAX_LOOKING:
            return None
        return _together(self._read(number).clock for number in looking)

    def discernment(self, numbers: Iterable[int]) -> Discernment | None:
        """What these can tell contexts apart by; None where that is not known."""
        numbers = tuple(numbers)
        if (names := self.names(numbers)) is None:
            return None
        looking = [n for n in numbers if self._is_looking(n)]
        if len(looking) > MAX_LOOKING:
            return None
        found = _together((self._read(number).looks for number in looking), MAX_LOOKS)
        if found is None:
            return None
        # First what may be of no use: then the others need not be looked at.
        in_order = sorted(found, key=lambda look: not look.is_unsure)
        return Discernment(names - FLEETING, tuple(in_order))

    def apart(self, numbers: Numbers) -> tuple[Numbers, Numbers]:
        """Those that can always tell what they look at, and the others; all here if they are many.

        Each policy is satisfied, or in error, by itself: so they can be asked about apart.
        """
        looking = [n for n in numbers if self._is_looking(n)]
        if len(looking) > MAX_LOOKING:
            return numbers, ()
        unsure = {n for n in looking if self._read(n).is_unsure}
        told, rest = ([n for n in numbers if (n in unsure) is there] for there in (False, True))
        return tuple(told), tuple(rest)

    def ignore_action(self, numbers: Numbers) -> bool:
        """Whether these are the same for every action that their scopes fit."""
        return len(numbers) <= MAX_LOOKING and not any(self._read(n).at_action for n in numbers)

    def _is_looking(self, number: int) -> bool:
        names = self._names[number]
        return names is None or not FLEETING.isdisjoint(names)

    def _read(self, number: int) -> _Read:
        if (known := self._known.get(number)) is None:
            # Of bounded depth, as everything that was admitted.
            tree = tree_of(self._texts[number])
            looks = None if self._names[number] is None else looks_of(tree, FLEETING)
            at_action = any(node == _ACTION for node in nodes(tree))
            known = _Read(looks, at_action, None if looks is None else _of_clock(looks))
            self._known.put(number, known)
        return known


def _together(parts: Iterable[frozenset[T] | None], most: int = sys.maxsize) -> frozenset[T] | None:
    """All that is in any of them; None if one is not known, or there is more than that."""
    found: set[T] = set()
    for part in parts:
        if part is None:
            return None
        found |= part
        if len(found) > most:
            return None
    return frozenset(found)


def _of_clock(looks: Iterable[Look]) -> frozenset[str] | None:
    found: set[str] = set()
    for look in looks:
        names = look.path + (look.kind.attributes if isinstance(look.kind, Has) else ())
        if names[:1] == ("clock",):
            if names == look.path == ("clock",):
                return None  # as a whole
            found |= {*names[1:2]}
    return frozenset(found)
