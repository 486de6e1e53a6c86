"""A small world to ask questions about: devices of every group, an agent, tools, workspaces."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache

from policy.arguments import JsonSchema, to_context, translate
from policy.bundle import Bundle
from policy.context import Context
from policy.contexts import (
    CallFacts,
    LeaseFacts,
    administrative_context,
    approve_context,
    attended_context,
    call_context,
    connect_context,
    lease_context,
    secret_context,
)
from policy.defaults import load_default_files
from policy.entities import (
    AgentEntity,
    CallEntity,
    DeviceEntity,
    Entity,
    HostEntity,
    SecretEntity,
    ToolEntity,
    WorkspaceEntity,
)
from policy.entity_store import EntityStore
from policy.pdp import PDP, Decision, Question
from policy.risk import Tier
from policy.schema import compose, load_base
from policy.values import EntityUid

NOW = datetime(2026, 11, 20, 10, 0, tzinfo=UTC)
TOOLS: dict[str, JsonSchema] = {
    "run_shell": {
        "type": "object",
        "properties": {"command": {"type": "string"}, "timeout": {"type": "integer"}},
        "required": ["command"],
    },
    "read_file": {
        "type": "object",
        "properties": {"path": {"type": "string"}},
        "required": ["path"],
    },
    "publish": {"type": "object"},
}
ARGUMENTS: dict[str, Mapping[str, object]] = {
    "run_shell": {"command": "ls"},
    "read_file": {"path": "a.txt"},
    "publish": {"any": ["thing"]},
}
GROUPS = ("owners", "operators", "approvers", "callers", "auditors")
CALL_ID = "01900000-0000-7000-8000-000000000001"
OWN_CALL = CallEntity(CALL_ID, "dev-callers", "read_file")
AGENT_CALL = CallEntity(CALL_ID, "dev-callers", "read_file", agent="bot")
SCHEMA = compose(load_base(), TOOLS)
KEY = SecretEntity("global", "deploy_key")


def tool(name: str, provenance: str, sensitivity: str, writes: bool, network: bool) -> ToolEntity:
    return ToolEntity(name, "ab" * 32, provenance, Decimal(sensitivity), network, writes, False)


def entities() -> list[Entity]:
    return [
        *(DeviceEntity(f"dev-{group}", group, (group,)) for group in GROUPS),
        DeviceEntity("dev-nobody", "in no group"),
        DeviceEntity("dev-owners-2", "second owner", ("owners",)),
        AgentEntity("bot", "a caller's agent", "dev-callers"),
        AgentEntity("robot", "an owner's agent", "dev-owners"),
        tool("read_file", "builtin", "0.1", writes=False, network=False),
        tool("run_shell", "local", "0.5", writes=True, network=False),
        tool("publish", "signed", "0.2", writes=False, network=True),
        WorkspaceEntity("docs", writable=False),
        WorkspaceEntity("scratch", writable=True),
        KEY,
    ]


@lru_cache(maxsize=1)
def default_pdp() -> PDP:
    bundle = Bundle.build(load_default_files(), SCHEMA)
    return PDP(bundle, EntityStore.build(entities(), bundle.schema))


def pdp(text: str) -> PDP:
    bundle = Bundle.build({"test.cedar": text}, SCHEMA)
    return PDP(bundle, EntityStore.build(entities(), bundle.schema))


def uid(text: str) -> EntityUid:
    kind, _, name = text.partition("::")
    return EntityUid(kind, name)


def facts(
    name: str = "read_file",
    arguments: Mapping[str, object] | None = None,
    workspace: str | None = None,
    secrets: frozenset[EntityUid] = frozenset(),
) -> CallFacts:
    given = ARGUMENTS[name] if arguments is None else arguments
    return CallFacts(
        arguments=to_context(name, translate(TOOLS[name]), given),
        risk=Decimal("0.25"),
        tier=Tier.PROCESS,
        time=NOW,
        origin="10.0.0.7",
        workspace=None if workspace is None else EntityUid("Workspace", workspace),
        secrets=secrets,
    )


def ask_call(
    pdp: PDP, principal: str, action: str, name: str = "read_file", workspace: str | None = None
) -> Decision:
    resource = EntityUid("Tool", name)
    context = call_context(facts(name, workspace=workspace))
    return pdp.decide(Question(uid(principal), action, resource, context))


def administer(
    pdp: PDP, principal: str, action: str, resource: str = "Daemon::stockade"
) -> Decision:
    return pdp.decide(
        Question(uid(principal), action, uid(resource), administrative_context(NOW, "10.0.0.7"))
    )


def ask_own_call(pdp: PDP, principal: str, action: str, call: CallEntity) -> Decision:
    context = administrative_context(NOW, "10.0.0.7")
    return pdp.decide(Question(uid(principal), action, call.uid, context, (call,)))


def ask_approve(
    pdp: PDP, approver: str, requester: str = "Device::dev-callers", agent: str | None = None
) -> Decision:
    context = approve_context(
        facts("run_shell"), 0, uid(requester), None if agent is None else uid(agent)
    )
    return pdp.decide(Question(uid(approver), "approve", uid("Tool::run_shell"), context))


def ask_attended(pdp: PDP, principal: str, approvers: list[str]) -> Decision:
    context = attended_context(
        facts("run_shell"), frozenset(uid(a) for a in approvers), frozenset(), frozenset(approvers)
    )
    return pdp.decide(Question(uid(principal), "call_attended", uid("Tool::run_shell"), context))


def context_for(action: str) -> tuple[str, Context, tuple[Entity, ...]]:
    """A resource and a whole context that fit the action."""
    host = HostEntity("api.example.com")
    match action:
        case "call" | "call_unattended" | "run_in_process" | "run_in_container":
            return "Tool::read_file", call_context(facts()), ()
        case "call_attended":
            return (
                "Tool::read_file",
                attended_context(
                    facts(),
                    frozenset({uid("Device::dev-owners")}),
                    frozenset({uid("Group::owners")}),
                    frozenset({"dev-owners"}),
                ),
                (),
            )
        case "approve":
            return "Tool::read_file", approve_context(facts(), 0, uid("Device::dev-callers")), ()
        case "grant_lease":
            lease = LeaseFacts(seconds=60, uses=1, exact=True, tied=True)
            return "Tool::read_file", lease_context(facts(), lease, uid("Device::dev-callers")), ()
        case "use_secret":
            return f"Secret::{KEY.uid.id}", secret_context(facts(), uid("Tool::read_file")), ()
        case "connect":
            return (
                "Host::api.example.com",
                connect_context(uid("Tool::publish"), 443, NOW),
                (host,),
            )
        case "watch_call" | "cancel_call":
            return f"Call::{CALL_ID}", administrative_context(NOW, "10.0.0.7"), (OWN_CALL,)
        case "revoke_agent":
            return "Agent::bot", administrative_context(NOW, "10.0.0.7"), ()
    return "Daemon::stockade", administrative_context(NOW, "10.0.0.7"), ()
