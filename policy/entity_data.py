"""What an operator says of the entities: groups in groups, toolsets, tags, maintenance.

Trusted so that what policies are told of is one value with one canonical form and one digest, and
that nothing in it is in itself, however long the way around. It holds names, not entities: what it
says of a tool that is not there, it says once there is one. Immutable and pure; a change makes
another value, and all of it is checked again. Leaves `EntityError` only.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from policy.entities import Entity, GroupEntity, ToolsetEntity
from policy.entity_rules import PARENT_TYPE, PERSON, check_members, check_people, check_tags
from policy.errors import EntityError
from policy.values import CedarValue, EntityUid

_VERSION = 1

Parents = Mapping[EntityUid, frozenset[EntityUid]]
Tags = Mapping[EntityUid, Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Join:
    """`child` in `parent`, too."""

    child: EntityUid
    parent: EntityUid


@dataclass(frozen=True, slots=True)
class Leave:
    """`child` no longer in `parent`."""

    child: EntityUid
    parent: EntityUid


@dataclass(frozen=True, slots=True)
class Tag:
    """`uid` with this tag, in place of one of the same key."""

    uid: EntityUid
    key: str
    value: str


@dataclass(frozen=True, slots=True)
class Untag:
    """`uid` without the tag of this key."""

    uid: EntityUid
    key: str


Change = Join | Leave | Tag | Untag


@dataclass(frozen=True, slots=True)
class EntityData:
    """See the module. Equal if what it says is."""

    parents: Parents = field(default_factory=dict)
    tags: Tags = field(default_factory=dict)
    maintenance: bool = False

    def changed(self, changes: Iterable[Change]) -> "EntityData":
        """With all of these, in order; or an error and no change."""
        changes = tuple(changes)
        parents = {uid: set(above) for uid, above in self.parents.items()}
        tags = {uid: dict(own) for uid, own in self.tags.items()}
        for change in changes:
            match change:
                case Join(child, parent):
                    parents.setdefault(child, set()).add(parent)
                case Leave(child, parent):
                    _leave(parents, child, parent)
                case Tag(uid, key, value):
                    tags.setdefault(uid, {})[key] = value
                case Untag(uid, key):
                    _untag(tags, uid, key)
        # Only of what is changed: data that was stored before this rule still says what it said.
        named = [one.value for one in changes if isinstance(one, Tag) and one.key == PERSON]
        check_people(named, tags)
        return _checked(parents, tags, self.maintenance)

    def with_maintenance(self, maintenance: bool) -> "EntityData":
        """The same, in a time of maintenance or not."""
        return replace(self, maintenance=maintenance)

    def ancestors(self, uids: Iterable[EntityUid]) -> frozenset[EntityUid]:
        """These, and all that they are in by this data."""
        found: set[EntityUid] = set()
        todo = list(uids)
        while todo:
            uid = todo.pop()
            if uid not in found:
                found.add(uid)
                todo += self.parents.get(uid, ())
        return frozenset(found)

    def describe(self, entities: Iterable[Entity]) -> Iterator[Entity]:
        """The entities as this data has them, and the groups and toolsets it puts into others."""
        for entity in entities:
            parents, tags = self.parents.get(entity.uid), self.tags.get(entity.uid)
            yield (
                Described(entity, _sorted(parents or ()), tags or {}) if parents or tags else entity
            )
        for uid, parents in self.parents.items():
            if uid.type == "Group":
                yield Described(GroupEntity(uid.id), _sorted(parents), {})
            elif uid.type == "Toolset":
                yield Described(ToolsetEntity(uid.id), _sorted(parents), {})

    def encode(self) -> bytes:
        """The canonical bytes: sorted, without white space, ASCII."""
        members: dict[str, dict[str, list[str]]] = {}
        for child, parents in self.parents.items():
            members.setdefault(child.type, {})[child.id] = sorted(p.id for p in parents)
        tags: dict[str, dict[str, Mapping[str, str]]] = {}
        for uid, own in self.tags.items():
            tags.setdefault(uid.type, {})[uid.id] = own
        document = {
            "v": _VERSION,
            "maintenance": self.maintenance,
            "members": members,
            "tags": tags,
        }
        return json.dumps(document, sort_keys=True, separators=(",", ":")).encode("ascii")


@dataclass(frozen=True, slots=True)
class Described:
    """An entity with what the operator says of it."""

    entity: Entity
    more_parents: tuple[EntityUid, ...]
    tags: Mapping[str, str]

    @property
    def uid(self) -> EntityUid:
        """Its own."""
        return self.entity.uid

    @property
    def parents(self) -> tuple[EntityUid, ...]:
        """Its own, then what the operator put it into."""
        own = self.entity.parents
        return (*own, *(parent for parent in self.more_parents if parent not in own))

    @property
    def attributes(self) -> Mapping[str, CedarValue]:
        """Its own."""
        return self.entity.attributes


def parse_entity_data(data: bytes) -> EntityData:
    """The inverse of `encode`; refuses everything else."""
    try:
        document = json.loads(data)
        if document["v"] != _VERSION or type(document["maintenance"]) is not bool:
            raise ValueError("another version")
        parents = {
            EntityUid(kind, name): {EntityUid(PARENT_TYPE[kind], parent) for parent in above}
            for kind, members in document["members"].items()
            for name, above in members.items()
        }
        tags = {
            EntityUid(kind, name): dict(own)
            for kind, tagged in document["tags"].items()
            for name, own in tagged.items()
        }
        found = _checked(parents, tags, document["maintenance"])
        if found.encode() != data:
            raise ValueError("another form")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise EntityError(
            "ENTITY_INVALID", f"not entity data: {type(error).__name__}", "restore a backup"
        ) from None
    return found


def state_digest(bundle_digest: str, data: EntityData) -> str:
    """SHA-256, hex, of a policy set with its schema and what the operator says of the entities."""
    state = hashlib.sha256(b"stockade policy state v1\n")
    for part in (bundle_digest.encode("ascii"), data.encode()):
        state.update(len(part).to_bytes(8, "big") + part)
    return state.hexdigest()


def _leave(parents: dict[EntityUid, set[EntityUid]], child: EntityUid, parent: EntityUid) -> None:
    above = parents.get(child, set())
    if parent not in above:
        raise EntityError("NOT_A_MEMBER", f"{child} is not in {parent}", "see what it is in")
    above.discard(parent)


def _untag(tags: dict[EntityUid, dict[str, str]], uid: EntityUid, key: str) -> None:
    own = tags.get(uid, {})
    if key not in own:
        raise EntityError("NOT_TAGGED", f"{uid} has no tag {key!r:.80}", "see its tags")
    del own[key]


def _checked(
    parents: Mapping[EntityUid, set[EntityUid]],
    tags: Mapping[EntityUid, Mapping[str, str]],
    maintenance: bool,
) -> EntityData:
    found = EntityData(
        {uid: frozenset(above) for uid, above in parents.items() if above},
        {uid: own for uid, own in tags.items() if own},
        maintenance,
    )
    check_members(found.parents)
    check_tags(found.tags)
    return found


def _sorted(uids: Iterable[EntityUid]) -> tuple[EntityUid, ...]:
    return tuple(sorted(uids, key=str))
