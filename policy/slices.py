"""Policies compiled a slice at a time: only those that can matter to a question, when it is asked.

Trusted to give, for every question, a set on which the engine's decision, reasons and errors are
the same as on the whole. Compiled slices are kept within bounds, and the same policies are compiled
once however many questions share them. Raises nothing for policies that were admitted.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import cedarpy

from policy.bounded import Bounded
from policy.discernment import Discernment, LookedAt
from policy.engine import place_of
from policy.index import Index
from policy.pace import Pause
from policy.scope import Key, Scope
from policy.values import EntityUid

Numbers = tuple[int, ...]
"""Policies by their places in the whole set."""

# What a compiled policy takes, and each copy of it in a set that was made from another, in KiB.
_PARSED, _COPIED = 5, 1
# Adding one to a set costs as much as parsing three: each time, the set is copied.
_MAX_ADDED = 4
MAX_KIB = 48 * 1024
MAX_SHARED_KIB = 64 * 1024
MAX_UIDS = 16_384


@dataclass(frozen=True, slots=True)
class PolicySlice:
    """Policies to evaluate together. The engine calls the nth of `numbers` "policyn"."""

    handle: cedarpy.PolicySet
    numbers: Numbers
    context: frozenset[str] | None
    """Which attributes of the context they look at, at most; None if that could be any."""
    discernment: Discernment | None
    """What they can tell contexts apart by; None where that is not known."""
    kib: int
    """What it takes in memory besides what it shares."""

    def number(self, engine_id: str) -> int:
        """The policy behind the engine's name for it; IndexError for any other name."""
        place = place_of(engine_id)
        if place is None:
            raise IndexError(engine_id)
        return self.numbers[place]


class Source(Protocol):
    """What policies are compiled from."""

    def compile(self, numbers: Numbers) -> cedarpy.PolicySet:
        """These policies, which the engine will call `policy0`, `policy1`, ... in this order."""

    def extend(self, base: cedarpy.PolicySet, of: Numbers, more: Numbers) -> cedarpy.PolicySet:
        """`base`, which was compiled from the policies `of`, and after them `more`."""


class TextSource:
    """Policies as text, each one a statement. What is in a set already is not parsed again."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._texts = texts

    def compile(self, numbers: Numbers) -> cedarpy.PolicySet:
        """See `Source`."""
        return cedarpy.PolicySet.from_str(self._join(numbers))

    def extend(self, base: cedarpy.PolicySet, of: Numbers, more: Numbers) -> cedarpy.PolicySet:  # noqa: ARG002 - the protocol's
        """See `Source`. One by one: what is added together is named in no order one could know."""
        for number in more:
            base = base.with_added_str(self._texts[number])
        return base

    def _join(self, numbers: Numbers) -> str:
        return "\n".join([self._texts[number] for number in numbers])


class Slices:
    """One set of policies, found by scope and compiled on demand. Safe for threads."""

    def __init__(
        self,
        scopes: Iterable[Scope],
        source: Source,
        looked_at: LookedAt | None = None,
    ) -> None:
        self._index = Index.build(scopes)
        self._source = source
        self._looked_at = looked_at
        self._compiled: Bounded[Numbers, PolicySlice] = Bounded(MAX_KIB, _kib)
        self._uids: Bounded[Numbers, frozenset[EntityUid]] = Bounded(MAX_UIDS, len)
        self._shared: Bounded[Numbers, PolicySlice] = Bounded(MAX_SHARED_KIB, _kib)

    def __len__(self) -> int:
        """How many policies there are."""
        return self._index.size

    def find(
        self, principal: Sequence[Key], action: Sequence[Key], resource: Sequence[Key]
    ) -> PolicySlice:
        """What to evaluate for a question whose three entities have these keys."""
        return self.of(self._index.candidates(principal, action, resource))

    def of(self, numbers: Numbers) -> PolicySlice:
        """These policies, compiled."""
        found = self._compiled.get(numbers)
        if found is None:
            found = self._compile(numbers)
            self._compiled.put(numbers, found)
        return found

    def uids(self, policies: PolicySlice) -> frozenset[EntityUid]:
        """Every entity that these policies name."""
        found = self._uids.get(policies.numbers)
        if found is None:
            read = policies.handle.to_pst()
            found = frozenset(
                EntityUid(str(uid.type), uid.id)
                for policy in read.static_policies.values()
                for uid in cedarpy.pst.entity_uids(policy)
            )
            self._uids.put(policies.numbers, found)
        return found

    def forget(self, pause: Pause) -> None:
        """Lets go of what is compiled, for a set that is hardly asked any more."""
        for kept in (self._compiled, self._shared, self._uids):
            kept.forget(pause)

    def whole(self) -> PolicySlice:
        """Every policy, for whoever wants to compare. Not kept."""
        return self._parse(tuple(range(len(self))))

    def _compile(self, numbers: Numbers) -> PolicySlice:
        # What is not about one principal or one resource is in many slices: parse it once.
        broad = tuple(number for number in numbers if number not in self._index.narrow)
        narrow = tuple(number for number in numbers if number in self._index.narrow)
        if not broad or len(narrow) > _MAX_ADDED:
            return self._parse(numbers)
        base = self._shared.get(broad)
        if base is None:
            base = self._parse(broad)
            self._shared.put(broad, base)
        handle = self._source.extend(base.handle, broad, narrow) if narrow else base.handle
        return self._slice(handle, broad + narrow, _COPIED * len(broad) + _PARSED * len(narrow) + 1)

    def _parse(self, numbers: Numbers) -> PolicySlice:
        return self._slice(self._source.compile(numbers), numbers, _PARSED * len(numbers) + 1)

    def _slice(self, handle: cedarpy.PolicySet, numbers: Numbers, kib: int) -> PolicySlice:
        if (at := self._looked_at) is None:
            return PolicySlice(handle, numbers, None, None, kib)
        return PolicySlice(handle, numbers, at.names(numbers), at.discernment(numbers), kib)


def _kib(one: PolicySlice) -> int:
    return one.kib
