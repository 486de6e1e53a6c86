"""What is in force now: policies, tools, devices, workspaces, tiers. One immutable value.

A call takes the world once and is judged by it; a change makes a new world and replaces the old one
in one assignment, so no call ever sees half a change. `build` validates everything and raises what
the leaves raise: what does not fit together never comes into force.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, tzinfo

from daemon.config import Config, zone_of
from daemon.principal import Principal
from daemon.tools.manifest import Origin
from daemon.tools.registry import Registry, Tool
from policy.arguments import Translation, translate
from policy.bundle import Bundle
from policy.entities import (
    AgentEntity,
    DeviceEntity,
    Entity,
    SecretEntity,
    ToolEntity,
    WorkspaceEntity,
)
from policy.entity_data import EntityData, state_digest
from policy.entity_store import EntityStore
from policy.errors import BundleError
from policy.pace import LIGHT, Pause, no_pause, paced
from policy.pdp import PDP
from policy.risk import Floors, Tier
from policy.schema import compose, load_base
from policy.snapshot import Snapshot, take
from policy.values import EntityUid

SCHEME = "secret://"

# What policy and receipts call the place a tool came from.
PROVENANCE: Mapping[Origin, str] = {Origin.BUILTIN: "builtin", Origin.OPERATOR: "local"}


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Why a tier cannot be used on this machine, and what to do."""

    reason: str
    fix: str


@dataclass(slots=True)
class KeptSnapshot:
    """The entities of a world, and whether they are stored yet: the first decision stores them."""

    snapshot: Snapshot
    kept: bool = False

    @property
    def digest(self) -> str:
        """Of what they say."""
        return self.snapshot.digest


@dataclass(frozen=True, slots=True)
class PolicyFault:
    """Why the policy set that should be in force is not, and which that is."""

    message: str
    fix: str
    # None where it could not even be read.
    wanted: Mapping[str, str] | None = field(repr=False)

    @classmethod
    def of(cls, error: BundleError, wanted: Mapping[str, str] | None) -> "PolicyFault":
        """From what is wrong with it."""
        return cls(str(error), error.fix, wanted)


@dataclass(frozen=True, slots=True)
class World:
    """See the module."""

    bundle: Bundle
    pdp: PDP
    data: EntityData
    # Of bundle and data together: what decisions carry and approvals are bound to.
    digest: str
    snapshot: KeptSnapshot = field(repr=False)
    zone: tzinfo
    registry: Registry
    translations: Mapping[str, Translation]
    workspaces: frozenset[str]
    floors: Floors
    unavailable: Mapping[Tier, Unavailable]
    # Set where no valid policy set is in force: then no call is permitted.
    fault: PolicyFault | None = None

    def local(self, now: datetime) -> datetime:
        """The same moment on the operator's clock."""
        return now.astimezone(self.zone)

    def toolsets(self, tool: Tool) -> frozenset[str]:
        """Every toolset that a tool is in."""
        entity = tool_entity(tool)
        above = self.data.ancestors([entity.uid, *entity.parents])
        return frozenset(uid.id for uid in above if uid.type == "Toolset")

    def groups(self, names: Iterable[str]) -> frozenset[EntityUid]:
        """These groups, and every group that they are in."""
        return self.data.ancestors(EntityUid("Group", name) for name in names)

    @staticmethod
    def principal_uid(principal: Principal) -> EntityUid:
        """The Cedar entity of a principal."""
        kind = "Device" if principal.name.kind == "device" else "Agent"
        return EntityUid(kind, str(principal.name.id))

    @staticmethod
    def subjects(principal: Principal) -> tuple[EntityUid, ...]:
        """All who must be permitted what this principal asks: an agent, and its device too."""
        own = World.principal_uid(principal)
        if own.type == "Device":
            return (own,)
        return (own, EntityUid("Device", principal.device_id))


def secret_uid(reference: str) -> EntityUid:
    """The Cedar entity of a secret reference, "secret://scope/name"."""
    scope, name = _secret_parts(reference)
    return SecretEntity(scope, name).uid


def tool_entity(tool: Tool) -> ToolEntity:
    """The Cedar entity of a tool."""
    manifest = tool.manifest
    return ToolEntity(
        id=tool.name,
        digest=tool.digest,
        provenance=PROVENANCE[tool.origin],
        data_sensitivity=manifest.risk.data_sensitivity,
        network=manifest.capabilities.network,
        filesystem_write=manifest.capabilities.filesystem_write,
        external_apis=manifest.capabilities.external_apis,
        toolsets=(manifest.toolset,),
        version=manifest.version,
    )


def schema_text(registry: Registry) -> str:
    """The Cedar schema of a set of tools."""
    return compose(load_base(), _input_schemas(registry))


def schema_document(world: World) -> bytes:
    """The schema as it is kept: Cedar's text, and the tools' own that it was made from."""
    document = {"cedar": world.bundle.schema.text, "tools": _input_schemas(world.registry)}
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


def _input_schemas(registry: Registry) -> dict[str, dict[str, object]]:
    return {tool.name: dict(tool.manifest.input.schema) for tool in registry.tools}


def build(
    files: Mapping[str, str],
    registry: Registry,
    principals: Iterable[DeviceEntity | AgentEntity],
    config: Config,
    unavailable: Mapping[Tier, Unavailable],
    data: EntityData | None = None,
    *,
    before: Bundle | None = None,
    pause: Pause = no_pause,
) -> World:
    """A world from its parts; raises `PolicyError` with everything that is wrong.

    A set that is the one `before`, under the same schema, is not read again; of another, policies
    that were in it are not validated again.
    """
    data = data or EntityData()
    schema = schema_text(registry)
    if before is not None and before.files == files and before.schema.text == schema:
        bundle = before
    else:
        bundle = Bundle.build(files, schema, pause, before)
    entities = tuple(paced(data.describe(_entities(registry, principals, config)), pause, LIGHT))
    return World(
        bundle=bundle,
        pdp=PDP(bundle, EntityStore.build(entities, bundle.schema, pause)),
        data=data,
        digest=state_digest(bundle.digest, data),
        snapshot=KeptSnapshot(take(entities, pause)),
        zone=zone_of(config.policy.time_zone),
        registry=registry,
        translations={t.name: translate(t.manifest.input.schema) for t in registry.tools},
        workspaces=frozenset(config.workspaces),
        floors=Floors(config.risk.container_floor, config.risk.gvisor_floor),
        unavailable=unavailable,
    )


def with_principals(
    world: World,
    principals: Iterable[DeviceEntity | AgentEntity],
    config: Config,
    pause: Pause = no_pause,
) -> World:
    """The same world with other devices and agents; policies are not read again."""
    described = world.data.describe(_entities(world.registry, principals, config))
    entities = tuple(paced(described, pause, LIGHT))
    store = EntityStore.build(entities, world.bundle.schema, pause)
    return replace(
        world, pdp=replace(world.pdp, entities=store), snapshot=KeptSnapshot(take(entities, pause))
    )


def _entities(
    registry: Registry, principals: Iterable[DeviceEntity | AgentEntity], config: Config
) -> Iterable[Entity]:
    yield from principals
    references: set[str] = set()
    for tool in registry.tools:
        references |= {secret.reference for secret in tool.manifest.secrets}
        yield tool_entity(tool)
    for name, workspace in config.workspaces.items():
        yield WorkspaceEntity(name, workspace.access == "write")
    for reference in sorted(references):
        yield SecretEntity(*_secret_parts(reference))


def _secret_parts(reference: str) -> tuple[str, str]:
    scope, _, name = reference.removeprefix(SCHEME).rpartition("/")
    return scope, name
