"""The entities policy decides about: typed builders, and a store parsed once.

Trusted to hold only entities with a valid id and the attributes the schema gives their type;
what is not in the store does not exist, and gets no permit. Immutable: a change makes a new
store. Leaves `EntityError` only.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Protocol

import cedarpy

from policy.errors import EntityError
from policy.identifiers import checked
from policy.risk import parse_unit
from policy.schema import Schema
from policy.values import CedarValue, EntityUid, decimal_value, entity_value

PROVENANCES = ("builtin", "local", "signed")
DAEMON = EntityUid("Daemon", "stockade")


class Entity(Protocol):
    """What the store takes."""

    @property
    def uid(self) -> EntityUid:
        """Which entity."""

    @property
    def parents(self) -> tuple[EntityUid, ...]:
        """What it is in, directly."""

    @property
    def attributes(self) -> Mapping[str, CedarValue]:
        """Its attributes, as Cedar JSON."""

    @property
    def tags(self) -> Mapping[str, str]:
        """What the operator has tagged it with."""


class _Untagged:
    """An entity as it is by itself: `policy.entity_data` adds what the operator says of it."""

    __slots__ = ()

    @property
    def tags(self) -> Mapping[str, str]:
        """None."""
        return {}


class _Bare(_Untagged):
    """An entity without parents and, unless it says otherwise, without attributes."""

    __slots__ = ()

    @property
    def parents(self) -> tuple[EntityUid, ...]:
        """None."""
        return ()

    @property
    def attributes(self) -> Mapping[str, CedarValue]:
        """None."""
        return {}


@dataclass(frozen=True, slots=True)
class GroupEntity(_Bare):
    """A group of devices and agents."""

    id: str

    @property
    def uid(self) -> EntityUid:
        """`Group::"owners"`."""
        return EntityUid("Group", self.id)


@dataclass(frozen=True, slots=True)
class ToolsetEntity(_Bare):
    """A set of tools."""

    id: str

    @property
    def uid(self) -> EntityUid:
        """`Toolset::"builtin"`."""
        return EntityUid("Toolset", self.id)


@dataclass(frozen=True, slots=True)
class HostEntity(_Bare):
    """A host a tool wants to reach: a lower-case name, or an address in canonical form."""

    id: str

    @property
    def uid(self) -> EntityUid:
        """`Host::"api.example.com"`."""
        return EntityUid("Host", self.id)


@dataclass(frozen=True, slots=True)
class DaemonEntity(_Bare):
    """The daemon itself, the resource of administrative acts."""

    @property
    def uid(self) -> EntityUid:
        """`Daemon::"stockade"`."""
        return DAEMON


@dataclass(frozen=True, slots=True)
class DeviceEntity(_Untagged):
    """A paired client."""

    id: str
    name: str
    groups: tuple[str, ...] = ()

    @property
    def uid(self) -> EntityUid:
        """`Device::"..."`."""
        return EntityUid("Device", self.id)

    @property
    def parents(self) -> tuple[EntityUid, ...]:
        """Its groups."""
        return tuple(EntityUid("Group", group) for group in self.groups)

    @property
    def attributes(self) -> Mapping[str, CedarValue]:
        """Its name, which decides nothing unless a policy says so."""
        return {"name": self.name}


@dataclass(frozen=True, slots=True)
class AgentEntity(_Untagged):
    """An automation with its own certificate, enrolled by a device."""

    id: str
    name: str
    device: str
    groups: tuple[str, ...] = ()
    manifest_digest: str | None = None

    @property
    def uid(self) -> EntityUid:
        """`Agent::"..."`."""
        return EntityUid("Agent", self.id)

    @property
    def parents(self) -> tuple[EntityUid, ...]:
        """The device that enrolled it, then its own groups."""
        groups = (EntityUid("Group", group) for group in self.groups)
        return (EntityUid("Device", self.device), *groups)

    @property
    def attributes(self) -> Mapping[str, CedarValue]:
        """Its name, and its manifest's digest if it has one."""
        digest = {} if self.manifest_digest is None else {"manifest_digest": self.manifest_digest}
        return {"name": self.name, **digest}


@dataclass(frozen=True, slots=True)
class ToolEntity(_Untagged):
    """A tool, with what its manifest declares. It is always in the toolset of its provenance."""

    id: str
    digest: str
    provenance: str
    data_sensitivity: Decimal
    network: bool
    filesystem_write: bool
    external_apis: bool
    toolsets: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.provenance not in PROVENANCES:
            raise EntityError(
                "BAD_PROVENANCE", f"no provenance {self.provenance!r}", f"one of {PROVENANCES}"
            )
        # A local tool that puts itself into "builtin" would take the built-in tools' permits.
        if foreign := set(self.toolsets) & (set(PROVENANCES) - {self.provenance}):
            raise EntityError(
                "RESERVED_TOOLSET",
                f"a tool of provenance {self.provenance!r} cannot be in {sorted(foreign)}",
                "choose another toolset name",
            )

    @property
    def uid(self) -> EntityUid:
        """`Tool::"run_shell"`."""
        return EntityUid("Tool", self.id)

    @property
    def parents(self) -> tuple[EntityUid, ...]:
        """Its toolsets."""
        names = sorted({self.provenance, *self.toolsets})
        return tuple(EntityUid("Toolset", name) for name in names)

    @property
    def attributes(self) -> Mapping[str, CedarValue]:
        """What the manifest declares."""
        sensitivity = parse_unit(self.data_sensitivity, "data_sensitivity")
        return {
            "digest": self.digest,
            "provenance": self.provenance,
            "data_sensitivity": decimal_value(sensitivity),
            "network": self.network,
            "filesystem_write": self.filesystem_write,
            "external_apis": self.external_apis,
        }


@dataclass(frozen=True, slots=True)
class WorkspaceEntity(_Bare):
    """A folder of the operator's that tools may work in."""

    id: str
    writable: bool

    @property
    def uid(self) -> EntityUid:
        """`Workspace::"docs"`."""
        return EntityUid("Workspace", self.id)

    @property
    def attributes(self) -> Mapping[str, CedarValue]:
        """Whether tools may write in it."""
        return {"writable": self.writable}


@dataclass(frozen=True, slots=True)
class SecretEntity(_Bare):
    """A secret reference: `global/name` or `device/owner/name`. The value is never here."""

    scope: str
    name: str

    @property
    def uid(self) -> EntityUid:
        """`Secret::"global/deploy_key"`."""
        return EntityUid("Secret", f"{self.scope}/{self.name}")

    @property
    def attributes(self) -> Mapping[str, CedarValue]:
        """Both halves of the reference."""
        return {"scope": self.scope, "name": self.name}


@dataclass(frozen=True, slots=True)
class CallEntity(_Bare):
    """A call, as the resource of watching and cancelling. Given with the question."""

    id: str
    device: str
    tool: str
    agent: str | None = None

    @property
    def uid(self) -> EntityUid:
        """`Call::"0190..."`."""
        return EntityUid("Call", self.id)

    @property
    def attributes(self) -> Mapping[str, CedarValue]:
        """Who asked for which tool."""
        asked: dict[str, CedarValue] = {
            "device": entity_value(EntityUid("Device", self.device)),
            "tool": entity_value(EntityUid("Tool", self.tool)),
        }
        if self.agent is not None:
            asked["agent"] = entity_value(EntityUid("Agent", self.agent))
        return asked


@dataclass(frozen=True, slots=True)
class EntityStore:
    """Every entity there is, parsed once under one schema."""

    schema: Schema = field(repr=False)
    handle: cedarpy.Entities = field(compare=False, repr=False)
    parents: Mapping[EntityUid, tuple[EntityUid, ...]] = field(repr=False)
    """What each is in, directly; who is no key here does not exist."""
    orphans: tuple[EntityUid, ...] = ()
    """Agents left out because their device is not there: strangers, like it."""

    @classmethod
    def build(cls, entities: Iterable[Entity], schema: Schema) -> "EntityStore":
        """A store of these, the daemon, and the groups and toolsets they are in."""
        given = _by_uid(entities)
        given.setdefault(DAEMON, DaemonEntity())
        orphans = tuple(
            uid
            for uid, entity in given.items()
            if any(p.type == "Device" and p not in given for p in entity.parents)
        )
        for uid in orphans:
            del given[uid]
        # Other threads run meanwhile: 10,000 devices would hold them up for 150 ms.
        handle = _parse(
            lambda: cedarpy.Entities.from_json_str(_dump(given), schema.handle, release_gil=True)
        )
        parents = {uid: entity.parents for uid, entity in given.items()}
        for entity in given.values():
            for parent in entity.parents:
                if parent.type in _IMPLIED_TYPES:
                    parents.setdefault(parent, ())
        return cls(schema, handle, parents, orphans)

    def ancestors(self, uid: EntityUid) -> tuple[EntityUid, ...]:
        """All that it is in, near or far."""
        found: dict[EntityUid, None] = {}
        left = list(self.parents.get(uid, ()))
        while left:
            parent = left.pop()
            if parent not in found:
                found[parent] = None
                left += self.parents.get(parent, ())
        return tuple(found)

    def with_added(self, entities: Iterable[Entity]) -> "EntityStore":
        """A store of a few more, for one question. What is here already stays as it is."""
        added = {u: e for u, e in _by_uid(entities).items() if u not in self.parents}
        if not added:
            return self
        # To Cedar an entity without attributes and parents is the same whether stored or not, and
        # adding one costs a copy of all the others.
        full = {u: e for u, e in added.items() if e.attributes or e.parents}
        handle = self.handle
        if full:
            handle = _parse(lambda: self.handle.with_added_json_str(_dump(full)))
        parents = {**self.parents, **{uid: entity.parents for uid, entity in added.items()}}
        return EntityStore(self.schema, handle, parents, self.orphans)


_IMPLIED_TYPES = frozenset({"Group", "Toolset"})


def _parse(parse: Callable[[], cedarpy.Entities]) -> cedarpy.Entities:
    try:
        return parse()
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


def _dump(entities: Mapping[EntityUid, Entity]) -> str:
    # One at a time, for the same reason.
    parts = (
        json.dumps(
            {
                "uid": uid.to_json(),
                "attrs": entity.attributes,
                "parents": [parent.to_json() for parent in entity.parents],
                **({"tags": entity.tags} if entity.tags else {}),
            },
            allow_nan=False,
        )
        for uid, entity in entities.items()
    )
    return f"[{','.join(parts)}]"
