"""The entities policy decides about, typed: what each type is called, is in, and has.

Trusted so that no caller writes an entity's JSON by hand. What is valid of ids and attributes is
for `policy.entity_store` to say. Pure; leaves `EntityError` only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from policy.errors import EntityError
from policy.risk import parse_unit
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

    @property
    def parents(self) -> tuple[EntityUid, ...]:
        """Every domain above it; of an address, which has a number where a domain ends, none."""
        labels = self.id.split(".")
        if ":" in self.id or labels[-1].isdecimal():
            return ()
        return tuple(EntityUid("Host", ".".join(labels[n:])) for n in range(1, len(labels)))

    @property
    def attributes(self) -> Mapping[str, CedarValue]:
        """Its name, for `like`."""
        return {"name": self.id}


@dataclass(frozen=True, slots=True)
class DaemonEntity(_Bare):
    """The daemon itself, the resource of administrative acts."""

    @property
    def uid(self) -> EntityUid:
        """`Daemon::"stockade"`."""
        return DAEMON


@dataclass(frozen=True, slots=True)
class AlertRuleEntity(_Bare):
    """A rule by which alerts are made: who asks whether an alert may bring something about."""

    id: str

    @property
    def uid(self) -> EntityUid:
        """`AlertRule::"denied_burst"`."""
        return EntityUid("AlertRule", self.id)


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
    version: str = ""

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
            "version": self.version,
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
