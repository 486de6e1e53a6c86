"""A world to judge calls in: real manifests, real Cedar, no daemon."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from daemon.calls.judge import Candidate, Verdict, judge
from daemon.config import Config
from daemon.identity.agent_manifest import Declared
from daemon.principal import Agent, Principal
from daemon.tools.arguments import parse_arguments
from daemon.tools.folder import load_folder
from daemon.tools.manifest import Origin
from daemon.tools.registry import BUILTIN_TOOLS, Registry, Tool
from daemon.world import Unavailable, World, build
from identity.names import AgentName, DeviceId, PrincipalName
from policy.defaults import load_default_files
from policy.entities import AgentEntity, DeviceEntity
from policy.entity_data import EntityData
from policy.risk import Tier
from tests.daemon.tools.support import uploaded

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
SECRET = "secret://global/key"
MISSING = Unavailable("it was not seen to work", "install it")
ALL_TIERS: Mapping[Tier, Unavailable] = {}
ONLY_PROCESS = {Tier.CONTAINER: MISSING, Tier.GVISOR: MISSING}

_MANIFEST = """\
name = "{name}"
version = "1"
summary = "s"
argv = ["/bin/true"]
[input]
type = "object"
[input.properties.text]
type = "string"
[risk]
data_sensitivity = {sensitivity}
[capabilities]
network = {network}
filesystem_write = {writes}
external_apis = {writes}
"""


def manifest(
    name: str, sensitivity: str = "0.1", *, network: bool = False, writes: bool = False
) -> str:
    return _MANIFEST.format(
        name=name,
        sensitivity=sensitivity,
        network=str(network).lower(),
        writes=str(writes).lower(),
    )


def with_secret(text: str) -> str:
    return text + f'[[secrets]]\nreference = "{SECRET}"\nenv = "KEY"\n'


def _local(text: str) -> Tool:
    folder = uploaded(text)
    return Tool(folder.manifest, folder.digest, Path("/nowhere"), Origin.OPERATOR)


def _builtin(name: str) -> Tool:
    folder = load_folder(BUILTIN_TOOLS / name, Origin.BUILTIN)
    return Tool(folder.manifest, folder.digest, Path("/nowhere"), Origin.BUILTIN)


@lru_cache(maxsize=1)
def registry() -> Registry:
    """The builtin tools, and some of an operator's: mild, risky, riskiest, one with a secret."""
    tools = [
        *(_builtin(path.name) for path in sorted(BUILTIN_TOOLS.iterdir()) if path.is_dir()),
        _local(manifest("mild")),
        _local(manifest("risky", "1.0")),
        _local(manifest("riskiest", "1.0", network=True, writes=True)),
        _local(with_secret(manifest("keyed"))),
    ]
    return Registry(MappingProxyType({tool.name: tool for tool in tools}), (), frozenset())


def device(letter: str, *groups: str) -> Principal:
    """A device whose id is one letter over and over."""
    name = PrincipalName("device", DeviceId("dev-" + letter * 16))
    return Principal(
        name=name,
        device_id=str(name.id),
        device_name=f"device {letter}",
        groups=frozenset(groups),
        serial="01",
        certificate=b"",
        not_after_ms=2**53,
        key="",
        issuer="",
        origin="127.0.0.1",
    )


def agent_of(
    answers: Principal,
    *,
    tools: Sequence[str] = (),
    toolsets: Sequence[str] = ("builtin", "local"),
    secrets: Sequence[str] = (SECRET,),
) -> Principal:
    """An agent of a device, that declared this much."""
    declared = Declared(frozenset(toolsets), frozenset(tools), frozenset(secrets))
    agent_id = f"bot-0123456789ab-{answers.device_id[4:12]}"
    return replace(
        answers,
        name=PrincipalName("agent", AgentName(agent_id)),
        groups=frozenset(),
        agent=Agent(agent_id, "bot", "ab" * 32, declared),
    )


OWNER = device("a", "owners")
CALLER = device("b", "callers")
APPROVER = device("c", "approvers")
SECOND_APPROVER = device("d", "approvers")
STRANGER = device("e")
ALL = (OWNER, CALLER, APPROVER, SECOND_APPROVER, STRANGER)


def world(
    files: Mapping[str, str] | str = "",
    *,
    unavailable: Mapping[Tier, Unavailable] = ALL_TIERS,
    devices: Sequence[Principal] = ALL,
    agents: Sequence[Principal] = (),
    config: Config | None = None,
    data: EntityData | None = None,
) -> World:
    """The default policies and `files` (text, or whole files that stand instead of them)."""
    if isinstance(files, str):
        files = {**load_default_files(), "extra.cedar": files}
    entities = [DeviceEntity(d.device_id, d.device_name, tuple(sorted(d.groups))) for d in devices]
    bots = [AgentEntity(str(a.name.id), "bot", a.device_id) for a in agents]
    there: list[DeviceEntity | AgentEntity] = [*entities, *bots]
    return build(files, registry(), there, config or Config(), unavailable, data=data)


def candidate(tool: str, principal: Principal = CALLER, arguments: bytes = b"{}") -> Candidate:
    found = registry().get(tool)
    assert found is not None
    return Candidate(principal, found, parse_arguments(arguments))


def verdict(
    in_world: World,
    tool: str,
    principal: Principal = CALLER,
    arguments: bytes = b"{}",
    approvers: Sequence[Principal] | None = None,
) -> Verdict:
    return judge(in_world, candidate(tool, principal, arguments), NOW, approvers)


def asked(of: Verdict) -> list[str]:
    """The questions that were put, in order."""
    return [question.action for question in of.asked]


def floors(container: str, gvisor: str) -> Config:
    risk = {"container_floor": Decimal(container), "gvisor_floor": Decimal(gvisor)}
    return Config.model_validate({"risk": risk})
