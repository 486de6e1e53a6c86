"""Whether one scope takes in all that another does. Pure; raises nothing.

Trusted to say yes only if every question that fits the narrower scope fits the wider, with the
entities as they are. A no may only mean that it cannot be known.
"""

from collections.abc import Callable, Iterable

from policy.scope import ANY, Key, Scope
from policy.values import EntityUid

Ancestors = Callable[[EntityUid], Iterable[EntityUid]]


def covers(wide: Scope, narrow: Scope, ancestors: Ancestors) -> bool:
    """Whether `wide` fits every question that `narrow` fits."""
    return (
        _key_covers(wide.principal, narrow.principal, ancestors)
        and _key_covers(wide.resource, narrow.resource, ancestors)
        and all(
            any(_key_covers(one, action, ancestors) for one in wide.actions)
            for action in narrow.actions
        )
    )


def _key_covers(wide: Key, narrow: Key, ancestors: Ancestors) -> bool:
    if wide in (ANY, narrow):
        return True
    if narrow == ANY or wide[0] == "==":
        return False
    kind, within = _parts(narrow)
    match wide:
        case ("is", type_name):
            return kind == type_name
        case ("is", type_name, *uid):
            return kind == type_name and _is_within(within, EntityUid(*uid), ancestors)
        case ("in", *uid):
            return _is_within(within, EntityUid(*uid), ancestors)
    return False


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


def _is_within(uid: EntityUid | None, other: EntityUid, ancestors: Ancestors) -> bool:
    return uid is not None and (uid == other or other in ancestors(uid))
