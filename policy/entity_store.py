"""Every entity there is, parsed once; and, for one question, a few more.

Trusted to hold only entities with a valid id and the attributes the schema gives their type; what
is not in it does not exist, and gets no permit. Immutable: a change makes a new store. A question
that brings entities of its own gets a small set of them and of what can matter beside them: adding
them to ten thousand would copy the ten thousand. Leaves `EntityError` only.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import cedarpy
import orjson

from policy.context import read
from policy.entities import DAEMON, DaemonEntity, Entity, GroupEntity, ToolsetEntity
from policy.errors import EntityError
from policy.identifiers import checked
from policy.pace import LIGHT, Pause, no_pause, paced
from policy.schema import Schema
from policy.values import CedarValue, EntityUid


class Entities(Protocol):
    """What a question is asked about."""

    def __contains__(self, uid: object) -> bool:
        """Whether there is such an entity."""

    def ancestors(self, uid: EntityUid) -> tuple[EntityUid, ...]:
        """All that it is in, near or far."""

    def tags(self, uid: EntityUid) -> Mapping[str, str]:
        """What it is tagged with; nothing if it is not there."""

    def handle_for(self, roots: Iterable[EntityUid]) -> cedarpy.Entities:
        """Entities for the engine: at least these, and all that can be reached from them."""


@dataclass(frozen=True, slots=True)
class EntityStore:
    """Every entity there is, under one schema."""

    schema: Schema = field(repr=False)
    handle: cedarpy.Entities = field(compare=False, repr=False)
    entities: Mapping[EntityUid, Entity] = field(repr=False)
    orphans: tuple[EntityUid, ...] = ()
    """Agents left out because their device is not there: strangers, like it."""

    @classmethod
    def build(
        cls, entities: Iterable[Entity], schema: Schema, pause: Pause = no_pause
    ) -> "EntityStore":
        """A store of these, the daemon, and the groups and toolsets they are in."""
        given = _by_uid(paced(entities, pause, LIGHT))
        given.setdefault(DAEMON, DaemonEntity())
        orphans = tuple(
            uid
            for uid, entity in given.items()
            if any(p.type == "Device" and p not in given for p in entity.parents)
        )
        for uid in orphans:
            del given[uid]
        text = _join([_dump(entity) for entity in paced(given.values(), pause, LIGHT)])
        handle = _parse(text, schema)
        for entity in list(given.values()):
            for parent in entity.parents:
                if parent not in given and parent.type in _IMPLIED:
                    given[parent] = _IMPLIED[parent.type](parent.id)
        return cls(schema, handle, given, orphans)

    def __contains__(self, uid: object) -> bool:
        return uid in self.entities

    def ancestors(self, uid: EntityUid) -> tuple[EntityUid, ...]:
        """All that it is in, near or far."""
        return _ancestors(uid, self.entities.get)

    def tags(self, uid: EntityUid) -> Mapping[str, str]:
        """See `Entities`."""
        found = self.entities.get(uid)
        return {} if found is None else found.tags

    def handle_for(self, roots: Iterable[EntityUid]) -> cedarpy.Entities:  # noqa: ARG002 - it has all
        """See `Entities`."""
        return self.handle

    def with_added(self, entities: Iterable[Entity]) -> Entities:
        """These and a few more, for one question. What is here already stays as it is."""
        added = {u: e for u, e in _by_uid(entities).items() if u not in self.entities}
        return _Widened(self, added) if added else self


class _Widened:
    """A store and a few entities more. Small, and made for one question."""

    def __init__(self, store: EntityStore, added: Mapping[EntityUid, Entity]) -> None:
        self._store = store
        self._added = added

    def __contains__(self, uid: object) -> bool:
        return uid in self._added or uid in self._store

    def _get(self, uid: EntityUid) -> Entity | None:
        return self._added.get(uid) or self._store.entities.get(uid)

    def ancestors(self, uid: EntityUid) -> tuple[EntityUid, ...]:
        """See `Entities`."""
        return _ancestors(uid, self._get)

    def tags(self, uid: EntityUid) -> Mapping[str, str]:
        """See `Entities`."""
        found = self._get(uid)
        return {} if found is None else found.tags

    def handle_for(self, roots: Iterable[EntityUid]) -> cedarpy.Entities:
        """See `Entities`."""
        # To Cedar an entity of which nothing is said is the same whether it is there or not.
        if not any(e.attributes or e.parents or e.tags for e in self._added.values()):
            return self._store.handle
        reached: dict[EntityUid, bytes] = {}
        left = [*roots, *self._added]
        while left:
            uid = left.pop()
            if uid in reached:
                continue
            if uid.type == "Action":
                reached[uid] = _dump_action(uid, self._store.schema.groups.get(uid, ()))
            elif (entity := self._get(uid)) is not None:
                reached[uid] = _dump(entity)
                # An attribute may refer to an entity with attributes of its own, and so on.
                left += [*entity.parents, *read(dict(entity.attributes)).uids]
        return _parse(_join(reached.values()))


_IMPLIED: Mapping[str, Callable[[str], Entity]] = {"Group": GroupEntity, "Toolset": ToolsetEntity}


def _ancestors(uid: EntityUid, get: Callable[[EntityUid], Entity | None]) -> tuple[EntityUid, ...]:
    found: dict[EntityUid, None] = {}
    left = [uid]
    while left:
        entity = get(left.pop())
        for parent in entity.parents if entity else ():
            if parent not in found:
                found[parent] = None
                left.append(parent)
    return tuple(found)


def _parse(text: str, schema: Schema | None = None) -> cedarpy.Entities:
    try:
        if schema is None:
            return cedarpy.Entities.from_json_str(text)
        return cedarpy.Entities.from_json_str(text, schema.handle, release_gil=True)
    except (ValueError, TypeError) as error:
        raise EntityError(
            "ENTITY_INVALID", f"the entities do not fit the schema: {error}", "mend the attributes"
        ) from None


def _by_uid(entities: Iterable[Entity]) -> dict[EntityUid, Entity]:
    found: dict[EntityUid, Entity] = {}
    for entity in entities:
        uid = checked(entity.uid)
        for parent in entity.parents:
            checked(parent)
        if uid in found:
            raise EntityError("DUPLICATE_ENTITY", f"{uid} is given twice", "give each once")
        found[uid] = entity
    return found


def _join(entities: Iterable[bytes]) -> str:
    return f"[{b','.join(entities).decode()}]"


def _dump(entity: Entity) -> bytes:
    return _json(entity.uid, entity.attributes, entity.parents, entity.tags)


def _dump_action(uid: EntityUid, groups: tuple[EntityUid, ...]) -> bytes:
    return _json(uid, {}, groups, {})


def _json(
    uid: EntityUid,
    attributes: Mapping[str, CedarValue],
    parents: tuple[EntityUid, ...],
    tags: Mapping[str, str],
) -> bytes:
    document = {
        "uid": uid.to_json(),
        "attrs": attributes,
        "parents": [parent.to_json() for parent in parents],
    }
    try:
        return orjson.dumps({**document, "tags": tags} if tags else document)
    except TypeError as error:
        raise EntityError("ENTITY_INVALID", f"{uid}: {error}", "mend the attributes") from None
