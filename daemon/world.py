"""What is in force now: policies, tools, devices, workspaces, tiers. One immutable value.

A call takes the world once and is judged by it; a change makes a new world and replaces the old one
in one assignment, so no call ever sees half a change. `build` validates everything and raises what
the leaves raise: what does not fit together never comes into force.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from daemon.config import Config
from daemon.principal import Principal
from daemon.tools.manifest import Origin
from daemon.tools.registry import Registry, Tool
from policy.arguments import Translation, translate
from policy.bundle import Bundle
from policy.entities import (
    AgentEntity,
    DeviceEntity,
    Entity,
    EntityStore,
    SecretEntity,
    ToolEntity,
    WorkspaceEntity,
)
from policy.pdp import PDP
from policy.risk import Floors, Tier
from policy.schema import compose, load_base
from policy.values import EntityUid

SCHEME = "secret://"

# What policy and receipts call the place a tool came from.
PROVENANCE: Mapping[Origin, str] = {Origin.BUILTIN: "builtin", Origin.OPERATOR: "local"}


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Why a tier cannot be used on this machine, and what to do."""

    reason: str
    fix: str


@dataclass(frozen=True, slots=True)
class World:
    """See the module."""

    bundle: Bundle
    pdp: PDP
    registry: Registry
    translations: Mapping[str, Translation]
    workspaces: frozenset[str]
    floors: Floors
    unavailable: Mapping[Tier, Unavailable]

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
    )


def schema_text(registry: Registry) -> str:
    """The Cedar schema of a set of tools."""
    return compose(
        load_base(), {tool.name: dict(tool.manifest.input.schema) for tool in registry.tools}
    )


def build(
    files: Mapping[str, str],
    registry: Registry,
    principals: Iterable[DeviceEntity | AgentEntity],
    config: Config,
    unavailable: Mapping[Tier, Unavailable],
) -> World:
    """A world from its parts; raises `PolicyError` with everything that is wrong."""
    bundle = Bundle.build(files, schema_text(registry))
    entities = EntityStore.build(_entities(registry, principals, config), bundle.schema)
    return World(
        bundle=bundle,
        pdp=PDP(bundle, entities),
        registry=registry,
        translations={t.name: translate(t.manifest.input.schema) for t in registry.tools},
        workspaces=frozenset(config.workspaces),
        floors=Floors(config.risk.container_floor, config.risk.gvisor_floor),
        unavailable=unavailable,
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
