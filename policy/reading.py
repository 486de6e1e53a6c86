"""What a statement says of itself: its scope, its annotations, the entities it names.

The engine knows best, and takes 100 us to say so: for ten thousand policies a second, in which no
call could be answered. Nearly every statement is plain: no comment inside, no escape, nothing
unusual in its scope. Such a text can be read in one way only, and `read_plain` does; for any other
its answer is None and the engine is asked. Trusted to read what it reads exactly as the engine
would; a law in the tests compares the two. Whether a statement is right is not its business. Pure;
leaves `ScopeError` (`read_json` only).
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import cedarpy
import orjson

from policy.scope import ANY, Key, Scope, is_exactly, is_in, is_of, is_of_in, read_scope
from policy.values import EntityUid

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_TYPE = rf"{_NAME}(?:::{_NAME})*"
_UID = rf'{_TYPE}::"[^"\n]*"'
_ENTITY = rf"(?:\s*==\s*{_UID}|\s+in\s+{_UID}|\s+is\s+{_TYPE}(?:\s+in\s+{_UID})?)?"
_ACTION = rf"(?:\s*==\s*{_UID}|\s+in\s+{_UID}|\s+in\s*\[\s*{_UID}(?:\s*,\s*{_UID})*\s*\])?"
_ANNOTATION = rf'@({_NAME})\("([^"\n]*)"\)'
_HEAD = re.compile(
    rf'((?:@{_NAME}\("[^"\n]*"\)\s*)*)(permit|forbid)\s*'
    rf"\(\s*principal({_ENTITY})\s*,\s*action({_ACTION})\s*,\s*resource({_ENTITY})\s*\)"
)
# What could make a text read otherwise: an escape, a comment, the slot of a template, a line break
# to some, a type's name in pieces; and, apart from these, whatever is not ASCII.
_UNUSUAL = re.compile(r"\\|//|\?|\r|\s::|::\s")
_ANNOTATIONS = re.compile(_ANNOTATION)
_UIDS = re.compile(rf'({_TYPE})::"([^"]*)"')
_IS = re.compile(rf"\s+is\s+({_TYPE})(.*)", re.ASCII | re.DOTALL)
_CONTEXT = re.compile(r"\bcontext\b", re.ASCII)
_CONTEXT_ATTRIBUTE = re.compile(rf"\bcontext(?:\s*\.\s*|\s+has\s+)({_NAME})(?!\w|\s*\()", re.ASCII)
_NONE: frozenset[str] = frozenset()
_TYPE_AT_END = re.compile(rf"({_TYPE})::$")


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of a statement."""

    effect: str
    """"permit" or "forbid"."""
    scope: Scope
    annotations: Mapping[str, str]
    uids: frozenset[EntityUid]
    """Every entity that it names, in its scope or in its conditions."""
    context: frozenset[str] | None
    """Which attributes of the context it looks at, at most; None if that could be any."""


def read_plain(text: str) -> Reading | None:
    """A statement that is plain; None for one that only the engine can read."""
    if not text.isascii() or _UNUSUAL.search(text):
        return None
    head, pieces = _HEAD.match(text), text.split('"')
    if head is None or not len(pieces) % 2:
        return None
    annotations, effect, principal, action, resource = head.groups()
    scope = Scope(_entity_key(principal), _action_keys(action), _entity_key(resource))
    named = dict(_ANNOTATIONS.findall(annotations))
    return Reading(effect, scope, named, frozenset(_typed(pieces)), context_attributes(text))


def _typed(pieces: list[str]) -> Iterator[EntityUid]:
    """The strings that are ids: without escapes, every second piece between quotes is a string."""
    for before, string in zip(pieces[::2], pieces[1::2], strict=False):
        if before.endswith("::") and (found := _TYPE_AT_END.search(before.split()[-1])):
            yield EntityUid(found[1], string)


def _entity_key(constraint: str) -> Key:
    if not constraint:
        return ANY
    if found := _IS.fullmatch(constraint):
        within = _uid(found[2]) if found[2] else None
        return is_of(found[1]) if within is None else is_of_in(found[1], within)
    uid = _uid(constraint)
    return is_exactly(uid) if constraint.lstrip().startswith("==") else is_in(uid)


def _action_keys(constraint: str) -> tuple[Key, ...]:
    if not constraint:
        return (ANY,)
    if constraint.lstrip().startswith("=="):
        return (is_exactly(_uid(constraint)),)
    return tuple(is_in(EntityUid(*parts)) for parts in _UIDS.findall(constraint))


def _uid(constraint: str) -> EntityUid:
    found = _UIDS.search(constraint)
    assert found is not None  # noqa: S101 - _HEAD matched it
    return EntityUid(found[1], found[2])


def context_attributes(text: str) -> frozenset[str] | None:
    """Which attributes of its context a statement looks at, at most; None if that could be any.

    True of any text that parses: a name stands there as it is, the variable cannot be spelled in
    another way, and what follows it is an attribute's name, or else could be anything.
    """
    if "context" not in text:
        return _NONE
    names = _CONTEXT_ATTRIBUTE.findall(text)
    return frozenset(names) if len(names) == len(_CONTEXT.findall(text)) else None


def read_json(policy: Mapping[str, object], text: str) -> Reading:
    """A statement in the engine's JSON, and as it is written."""
    annotations = policy.get("annotations")
    texts = annotations if isinstance(annotations, Mapping) else {}
    return Reading(
        str(policy.get("effect")),
        read_scope(policy),
        {str(name): str(value or "") for name, value in texts.items()},
        frozenset(_uids(policy)),
        context_attributes(text),
    )


def read_policy(text: str) -> Reading:
    """A statement that is one policy, as was found before."""
    if plain := read_plain(text):
        return plain
    (policy,) = orjson.loads(cedarpy.policies_to_json_str(text))["staticPolicies"].values()
    return read_json(policy, text)


def _uids(policy: object) -> Iterator[EntityUid]:
    """Scopes have `{"entity": uid}` or a list of them, conditions `{"__entity": uid}`."""
    left: list[object] = [policy]
    while left:
        match left.pop():
            case {"type": str(type_name), "id": str(id_)}:
                yield EntityUid(type_name, id_)
            case dict() as mapping:
                left += mapping.values()
            case list() as items:
                left += items
