"""Policies compiled a slice at a time: only those that can matter to a question, when it is asked.

Trusted to give, for every question, a set on which the engine's decision, reasons and errors are
the same as on the whole. Compiled slices are kept within bounds, and the same policies are compiled
once however many questions share them. Raises nothing for policies that were admitted.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
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


class _Lazily:
    """What is compiled when it is first asked for, or twice by two threads."""

    __slots__ = ("_compile", "_compiled")

    def __init__(self, compile_: Callable[[], cedarpy.PolicySet]) -> None:
        self._compile = compile_
        self._compiled: cedarpy.PolicySet | None = None

    def get(self) -> cedarpy.PolicySet:
        """The very same each time."""
        if self._compiled is None:
            self._compiled = self._compile()
        return self._compiled


@dataclass(frozen=True, slots=True)
class PolicySlice:
    """Policies to evaluate together. The engine calls the nth of `numbers` "policyn"."""

    numbers: Numbers
    context: frozenset[str] | None
    """Which attributes of the context they look at, at most; None if that could be any."""
    clock: frozenset[str] | None
    """Which parts of its clock they look at, at most; None if that could be any."""
    discernment: Discernment | None
    """What they can tell contexts apart by; None where that is not known."""
    kib: int
    """What it takes in memory besides what it shares."""
    parts: tuple["PolicySlice", ...]
    """The same in two: those that can always tell what they look at, and the others. Else empty."""
    ignores_action: bool
    """Whether they say the same of any action that they are for; known of what has no parts."""
    _compiled: _Lazily

    @property
    def handle(self) -> cedarpy.PolicySet:
        """As the engine has them."""
        return self._compiled.get()

    def compile(self) -> None:
        """Makes ready what will be evaluated."""
        for part in self.parts or (self,):
            part._compiled.get()  # noqa: SLF001 - one of its own kind

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


_Shared = Bounded[Numbers, tuple[cedarpy.PolicySet, int]]


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
        self._shared: _Shared = Bounded(MAX_SHARED_KIB, itemgetter(1))

    def __len__(self) -> int:
        """How many policies there are."""
        return self._index.size

    def find(
        self, principal: Sequence[Key], action: Sequence[Key], resource: Sequence[Key]
    ) -> PolicySlice:
        """What to evaluate for a question whose three entities have these keys."""
        return self.of(self._index.candidates(principal, action, resource))

    def of(self, numbers: Numbers) -> PolicySlice:
        """These policies, compiled when they are first evaluated."""
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

    def pieces(self) -> list[object]:
        """All that is large in it besides what is compiled, in small parts."""
        return self._index.pieces()

    def whole(self) -> PolicySlice:
        """Every policy, for whoever wants to compare. Not kept."""
        return self._parsed(tuple(range(len(self))))

    def _compile(self, numbers: Numbers) -> PolicySlice:
        # What is not about one principal or one resource is in many slices: parse it once.
        broad = tuple(number for number in numbers if number not in self._index.narrow)
        narrow = tuple(number for number in numbers if number in self._index.narrow)
        if not broad or len(narrow) > _MAX_ADDED:
            return self._parsed(numbers)
        kib = _COPIED * len(broad) + _PARSED * len(narrow) + 1
        # Not by a method: what is kept here must not hold what keeps it.
        compile_ = partial(_extended, self._source, self._shared, broad, narrow)
        return self._slice(broad + narrow, kib, compile_)

    def _parsed(self, numbers: Numbers) -> PolicySlice:
        kib = _PARSED * len(numbers) + 1
        return self._slice(numbers, kib, partial(self._source.compile, numbers))

    def _slice(
        self, numbers: Numbers, kib: int, compile_: Callable[[], cedarpy.PolicySet]
    ) -> PolicySlice:
        lazily = _Lazily(compile_)
        if (at := self._looked_at) is None:
            return PolicySlice(numbers, None, None, None, kib, (), False, lazily)
        told, rest = at.apart(numbers)
        parts = (self.of(told), self.of(rest)) if told and rest else ()
        ignores = bool(rest) and not told and at.ignore_action(numbers)
        names, clock, discernment = at.names(numbers), at.clock(numbers), at.discernment(numbers)
        return PolicySlice(numbers, names, clock, discernment, kib, parts, ignores, lazily)


def _extended(source: Source, kept: _Shared, broad: Numbers, narrow: Numbers) -> cedarpy.PolicySet:
    shared = kept.get(broad)
    if shared is None:
        shared = source.compile(broad), _PARSED * len(broad) + 1
        kept.put(broad, shared)
    return source.extend(shared[0], broad, narrow) if narrow else shared[0]


def _kib(one: PolicySlice) -> int:
    return one.kib
