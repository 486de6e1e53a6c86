"""The scope of a policy, as keys that a question either has or has not.

Trusted to say exactly what Cedar's scope says: a policy applies to a question if, and only if, its
principal key is among the principal's keys, one of its action keys among the action's, and its
resource key among the resource's. Reads the engine's own JSON of a policy and refuses any form it
does not know, with `ScopeError`: a policy nobody can place is never put into an index. Pure.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from policy.errors import ScopeError
from policy.values import EntityUid

Key = tuple[str, ...]
"""One thing a scope can ask of an entity. Plain tuples: they are hashed for every question."""

ANY: Key = ("",)
Links = Mapping[str, EntityUid]
"""What the slots of a template stand for in a policy that was linked from it."""


class Scope(NamedTuple):
    """What a policy asks of principal, action and resource. No action at all: applies to none."""

    principal: Key
    actions: tuple[Key, ...]
    resource: Key


NOWHERE = Scope(ANY, (), ANY)
"""Of what decides nothing: a template."""


def is_exactly(uid: EntityUid) -> Key:
    """`== uid`."""
    return ("==", uid.type, uid.id)


def is_in(uid: EntityUid) -> Key:
    """`in uid`."""
    return ("in", uid.type, uid.id)


def is_of(type_name: str) -> Key:
    """`is type`."""
    return ("is", type_name)


def is_of_in(type_name: str, uid: EntityUid) -> Key:
    """`is type in uid`."""
    return ("is", type_name, uid.type, uid.id)


def keys_of(uid: EntityUid, ancestors: Iterable[EntityUid]) -> tuple[Key, ...]:
    """Every key that this entity has. `in` is reflexive, as in Cedar."""
    within = (uid, *(one for one in ancestors if one != uid))
    return (
        ANY,
        is_exactly(uid),
        is_of(uid.type),
        *map(is_in, within),
        *(is_of_in(uid.type, one) for one in within),
    )


def keys_of_action(uid: EntityUid, groups: Iterable[EntityUid]) -> tuple[Key, ...]:
    """The same of an action, of whose type no scope speaks."""
    return (ANY, is_exactly(uid), is_in(uid), *(is_in(one) for one in groups if one != uid))


def is_narrow(scope: Scope) -> bool:
    """Whether it names one principal or one resource and fits no other."""
    return "==" in (scope.principal[0], scope.resource[0])


def read_scope(policy: Mapping[str, object], links: Links | None = None) -> Scope:
    """The scope of one policy in the engine's JSON; of a template, with its slots filled."""
    return Scope(
        _entity_key(_part(policy, "principal"), links or {}),
        _action_keys(_part(policy, "action")),
        _entity_key(_part(policy, "resource"), links or {}),
    )


def _entity_key(constraint: Mapping[str, object], links: Links) -> Key:
    match constraint:
        case {"op": "All"}:
            return ANY
        case {"op": "=="}:
            return is_exactly(_uid(constraint, links))
        case {"op": "in"}:
            return is_in(_uid(constraint, links))
        case {"op": "is", "entity_type": str(type_name), "in": Mapping() as within}:
            return is_of_in(type_name, _uid(within, links))
        case {"op": "is", "entity_type": str(type_name)} if "in" not in constraint:
            return is_of(type_name)
    raise _unknown(constraint)


def _action_keys(constraint: Mapping[str, object]) -> tuple[Key, ...]:
    match constraint:
        case {"op": "All"}:
            return (ANY,)
        case {"op": "=="}:
            return (is_exactly(_uid(constraint, {})),)
        case {"op": "in", "entities": list(members)}:
            return tuple(is_in(_uid({"entity": member}, {})) for member in members)
        case {"op": "in", "entity": _}:
            return (is_in(_uid(constraint, {})),)
    raise _unknown(constraint)


def _uid(constraint: Mapping[str, object], links: Links) -> EntityUid:
    match constraint:
        case {"entity": {"type": str(type_name), "id": str(id_)}} | {
            "entity": {"__entity": {"type": str(type_name), "id": str(id_)}}
        }:
            return EntityUid(type_name, id_)
        case {"slot": str(slot)} if slot in links:
            return links[slot]
    raise _unknown(constraint)


def _part(policy: Mapping[str, object], name: str) -> Mapping[str, object]:
    part = policy.get(name)
    if not isinstance(part, Mapping):
        raise _unknown(part)
    return part


def _unknown(what: object) -> ScopeError:
    return ScopeError(
        "UNKNOWN_SCOPE", f"the engine wrote a scope that is not understood: {what!r:.200}", _FIX
    )


_FIX = "report it, with the policy; this release cannot place such a policy"
