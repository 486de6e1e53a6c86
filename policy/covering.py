"""Whether one scope takes in all that another does. Pure; raises nothing.

Trusted to say yes only if every question that fits the narrower scope fits the wider, with the
entities as they are. A no may only mean that it cannot be known.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import product

from policy.scope import ANY, Key, Scope, is_in, is_of, is_of_in
from policy.values import EntityUid

Ancestors = Callable[[EntityUid], Iterable[EntityUid]]


class Wide:
    """Scopes, found by those that they take in."""

    def __init__(self, scopes: Sequence[Scope], ancestors: Ancestors) -> None:
        self._scopes = scopes
        self._ancestors = ancestors
        self._places: dict[tuple[Key, Key], list[int]] = defaultdict(list)
        for place, scope in enumerate(scopes):
            self._places[scope.principal, scope.resource].append(place)

    def covering(self, narrow: Scope) -> Iterator[int]:
        """The places of those that fit every question that `narrow` fits, in no order."""
        principals = _wider(narrow.principal, self._ancestors)
        resources = _wider(narrow.resource, self._ancestors)
        actions = [_wider(action, self._ancestors) for action in narrow.actions]
        for keys in product(principals, resources):
            for place in self._places.get(keys, ()):
                wide = self._scopes[place].actions
                if all(not found.isdisjoint(wide) for found in actions):
                    yield place


def covers(wide: Scope, narrow: Scope, ancestors: Ancestors) -> bool:
    """Whether `wide` fits every question that `narrow` fits."""
    return any(True for _ in Wide((wide,), ancestors).covering(narrow))


def _wider(narrow: Key, ancestors: Ancestors) -> frozenset[Key]:
    """The keys that whoever has this one has, too."""
    kind, within = _parts(narrow)
    found = {ANY, narrow}
    if kind is not None:
        found.add(is_of(kind))
    for uid in () if within is None else (within, *ancestors(within)):
        found.add(is_in(uid))
        if kind is not None:
            found.add(is_of_in(kind, uid))
    return frozenset(found)


def _parts(key: Key) -> tuple[str | None, EntityUid | None]:
    """The type that a key asks for, and what it asks to be in, as far as it asks."""
    match key:
        case ("==", type_name, id_):
            return type_name, EntityUid(type_name, id_)
        case ("in", type_name, id_):
            return None, EntityUid(type_name, id_)
        case ("is", type_name, in_type, id_):
            return type_name, EntityUid(in_type, id_)
        case ("is", type_name):
            return type_name, None
    return None, None
