"""The default policy as a table: who may do what."""

import re

import pytest

from policy.bundle import Bundle
from policy.contexts import call_context, reaction_context
from policy.defaults import load_default_files
from policy.entities import AlertRuleEntity
from policy.pdp import PDP, Decision, Question, ReasonCode
from policy.schema import load_base
from tests.policy.world import (
    AGENT_CALL,
    GROUPS,
    NOW,
    OWN_CALL,
    SCHEMA,
    administer,
    ask_approve,
    ask_attended,
    ask_call,
    ask_own_call,
    context_for,
    default_pdp,
    facts,
    pdp,
    uid,
)

GREET = {"health", "get_status", "who_am_i", "renew_certificate", "list_tools", "get_tool"}
READ = {
    *("list_calls", "get_policy", "list_policy_versions", "check_policy", "explain_policy"),
    *("list_secrets", "list_devices", "read_ledger", "follow_ledger", "export_ledger"),
    *("get_ledger_keys", "reflection", "list_agents", "get_entities"),
    *("test_policy", "replay_policy", "diff_policy", "suggest_policy", "export_evidence"),
}
REVIEW = {"list_approvals", "get_approval", "watch_approvals", "list_leases"}
OPERATE = {
    *("add_tool", "remove_tool", "checkpoint_ledger", "countersign_checkpoint"),
    *("put_secret", "remove_secret", "revoke_secret", "revert_secret", "rotate_secrets"),
    *("unlock_vault", "get_vault_key", "reinstate_secret", "check_sources"),
}
OPERATE |= {"revoke_lease"}
OWN = {
    *("apply_policy", "invite_device", "confirm_pairing", "revoke_device", "set_device_groups"),
    *("enroll_agent", "hand_lease", "revoke_certificate", "rotate_authority", "rotate_ledger_keys"),
    *("rotate_vault_root", "accept_vault_rollback", "back_up_vault", "restore_vault"),
    *("rollback_policy", "change_entities", "set_maintenance", "run_attacks"),
    *("examine_daemon", "resume_principal"),
}
AGENT = {"revoke_agent"}
CALL = {"watch_call", "cancel_call"}
CALLING = {
    *("call", "call_unattended", "call_attended", "approve", "run_in_process"),
    *("run_in_container", "use_secret", "connect", "grant_lease"),
}
# An alert's rule asks these: no device and no agent can.
REACTING = {"suspend_principal", "revoke_leases", "start_maintenance"}
AGENTS = ("Agent::bot", "Agent::robot")
ADMINISTRATIVE = GREET | READ | REVIEW | OPERATE | OWN

MAY = {
    "Device::dev-owners": ADMINISTRATIVE,
    "Device::dev-operators": GREET | READ | REVIEW | OPERATE,
    "Device::dev-approvers": GREET | REVIEW | {"revoke_lease"},
    "Device::dev-auditors": GREET | READ | REVIEW,
    "Device::dev-callers": GREET | {"enroll_agent", "hand_lease"},
    "Device::dev-nobody": GREET,
    "Agent::bot": GREET,
    "Agent::robot": GREET,
}


def actions() -> set[str]:
    """Every action of the schema that can be asked."""
    text = re.sub(r"//.*", "", load_base())
    found: set[str] = set()
    for names in re.findall(r"^action ([^;]*?)(?: in \[[^]]*\])?\s*appliesTo", text, re.MULTILINE):
        alone = re.sub(r"\s+in \[.*", "", names, flags=re.DOTALL)
        found |= {name.strip() for name in alone.split(",")}
    return found


def test_the_tables_cover_the_schema() -> None:
    """No action is left out of these tests."""
    assert actions() == ADMINISTRATIVE | AGENT | CALL | CALLING | REACTING


@pytest.mark.parametrize("action", sorted(ADMINISTRATIVE | AGENT | CALL | CALLING))
def test_every_action_can_be_asked(action: str) -> None:
    """Each action has a whole question that fits the schema, and an open permit permits it."""
    resource, context, extra = context_for(action)
    asked = Question(uid("Device::dev-owners"), action, uid(resource), context, extra)
    assert pdp("permit (principal, action, resource);").decide(asked).allowed


@pytest.mark.parametrize("principal", sorted(MAY))
def test_who_may_administer_what(principal: str) -> None:
    """Each principal may do exactly its part; an owner's agent is no owner."""
    allowed = {a for a in ADMINISTRATIVE if administer(default_pdp(), principal, a).allowed}
    assert allowed == MAY[principal]


@pytest.mark.parametrize("action", sorted(REVIEW | OPERATE - {"cancel_call"} | OWN))
def test_no_policy_lets_an_agent_administer(action: str) -> None:
    """What only a person may do, an agent cannot be permitted even by an open permit."""
    everything = pdp("permit (principal, action, resource);")
    assert administer(everything, "Agent::robot", action).code is ReasonCode.BAD_REQUEST


def test_a_device_revokes_its_own_agents() -> None:
    """Its own and no other's, whatever its groups; an owner anybody's; an agent nobody's."""
    point = default_pdp()
    may = {
        (one, agent)
        for one in [*MAY, "Device::dev-owners-2"]
        for agent in AGENTS
        if administer(point, one, "revoke_agent", agent).allowed
    }
    assert may == {
        ("Device::dev-callers", "Agent::bot"),
        *((f"Device::{o}", a) for o in ("dev-owners", "dev-owners-2") for a in AGENTS),
    }
    everything = pdp("permit (principal, action, resource);")
    asked = administer(everything, "Agent::bot", "revoke_agent", "Agent::bot")
    assert asked.code is ReasonCode.BAD_REQUEST


def test_no_policy_lets_an_agent_approve() -> None:
    """An agent's yes never counts, not even under an open permit."""
    everything = pdp("permit (principal, action, resource);")
    assert ask_approve(everything, "Agent::robot").code is ReasonCode.BAD_REQUEST


@pytest.mark.parametrize(
    ("principal", "call", "unattended"),
    [
        ("Device::dev-owners", True, True),
        ("Device::dev-callers", True, True),
        ("Agent::bot", True, True),
        ("Agent::robot", True, True),
        ("Device::dev-operators", False, False),
        ("Device::dev-approvers", False, False),
        ("Device::dev-auditors", False, False),
        ("Device::dev-nobody", False, False),
    ],
)
def test_who_may_call(principal: str, call: bool, unattended: bool) -> None:
    """Owners, callers and their agents may call, reads unattended; nobody else may."""
    point = default_pdp()
    assert ask_call(point, principal, "call").allowed is call
    assert ask_call(point, principal, "call_unattended").allowed is unattended
    assert ask_call(point, principal, "call", "run_shell").allowed is call
    assert not ask_call(point, principal, "call_unattended", "run_shell").allowed


def test_a_signed_tool_needs_a_line_of_its_own() -> None:
    """A tool of any other origin is not callable by default, not even by an owner."""
    for action in ("call", "call_unattended"):
        assert not ask_call(default_pdp(), "Device::dev-owners", action, "publish").allowed


def test_a_tool_that_gets_secrets_is_not_unattended() -> None:
    """A read-only tool that asks for a secret waits for a person."""
    context = call_context(facts(secrets=frozenset({uid("Secret::global/deploy_key")})))
    for action, expected in (("call", True), ("call_unattended", False)):
        asked = Question(uid("Device::dev-owners"), action, uid("Tool::read_file"), context)
        assert default_pdp().decide(asked).allowed is expected


def test_writing_in_a_read_only_workspace_is_forbidden_by_name() -> None:
    """`read-only-workspace` says no to a tool that writes, whoever asks."""
    point = default_pdp()
    decision = ask_call(point, "Device::dev-owners", "call", "run_shell", workspace="docs")
    assert decision.code is ReasonCode.FORBIDDEN
    assert [ref.id for ref in decision.reasons] == ["read-only-workspace"]
    assert ask_call(point, "Device::dev-owners", "call", "run_shell", workspace="scratch").allowed
    assert ask_call(point, "Device::dev-owners", "call", "read_file", workspace="docs").allowed


@pytest.mark.parametrize("group", GROUPS)
def test_who_may_approve(group: str) -> None:
    """Owners and approvers approve the calls of others; no other group does."""
    requester = "Device::dev-nobody"
    decision = ask_approve(default_pdp(), f"Device::dev-{group}", requester)
    assert decision.allowed is (group in {"owners", "approvers"})


def test_nobody_approves_their_own_call() -> None:
    """An owner's yes to the owner's own call is forbidden; another owner's counts."""
    point = default_pdp()
    own = ask_approve(point, "Device::dev-owners", "Device::dev-owners")
    assert own.code is ReasonCode.FORBIDDEN
    assert [ref.id for ref in own.reasons] == ["never-your-own"]
    assert ask_approve(point, "Device::dev-owners-2", "Device::dev-owners").allowed


def test_a_person_approves_what_their_agent_asks() -> None:
    """A call by an agent is the agent's own, so its device may approve it."""
    asked = ask_approve(default_pdp(), "Device::dev-owners", "Device::dev-owners", "Agent::robot")
    assert asked.allowed


def test_one_approver_is_enough_and_none_is_not() -> None:
    """`call_attended` wants at least one approver."""
    point = default_pdp()
    assert not ask_attended(point, "Device::dev-callers", []).allowed
    assert ask_attended(point, "Device::dev-callers", ["Device::dev-owners"]).allowed


def test_sandboxes() -> None:
    """Known tools may run as a process, others in a container."""
    point = default_pdp()
    caller = "Device::dev-callers"
    assert ask_call(point, caller, "run_in_process", "read_file").allowed
    assert ask_call(point, caller, "run_in_process", "run_shell").allowed
    assert not ask_call(point, caller, "run_in_process", "publish").allowed
    assert ask_call(point, caller, "run_in_container", "publish").allowed


@pytest.mark.parametrize("action", ["use_secret", "connect"])
def test_secrets_and_hosts_need_a_line(action: str) -> None:
    """By default no call gets a secret or a host, not even an owner's."""
    resource, context, extra = context_for(action)
    asked = Question(uid("Device::dev-owners"), action, uid(resource), context, extra)
    assert default_pdp().decide(asked).code is ReasonCode.NOT_PERMITTED


def test_the_example_secret_policy_works_once_uncommented() -> None:
    """The example in calls.cedar is a policy, not prose."""
    text = load_default_files()["calls.cedar"]
    example = text[text.index('// @id("deploy-key') :].replace("// ", "").replace("//", "")
    example = example.replace("git_push", "read_file")
    resource, context, extra = context_for("use_secret")
    asked = Question(uid("Device::dev-callers"), "use_secret", uid(resource), context, extra)
    assert pdp(example).decide(asked).allowed


@pytest.mark.parametrize("action", sorted(CALL))
@pytest.mark.parametrize(
    ("principal", "own", "agents"),
    [
        ("Device::dev-callers", True, True),
        ("Agent::bot", False, True),
        ("Agent::robot", False, False),
        ("Device::dev-nobody", False, False),
        ("Device::dev-approvers", False, False),
        ("Device::dev-operators", True, True),
        ("Device::dev-owners", True, True),
    ],
)
def test_who_may_watch_and_cancel(action: str, principal: str, own: bool, agents: bool) -> None:
    """A caller reaches its own calls and its agents'; an agent only its own."""
    assert ask_own_call(default_pdp(), principal, action, OWN_CALL).allowed is own
    assert ask_own_call(default_pdp(), principal, action, AGENT_CALL).allowed is agents


def test_auditors_watch_and_never_cancel() -> None:
    """An auditor changes nothing."""
    point = default_pdp()
    assert ask_own_call(point, "Device::dev-auditors", "watch_call", OWN_CALL).allowed
    assert not ask_own_call(point, "Device::dev-auditors", "cancel_call", OWN_CALL).allowed


def test_every_default_policy_has_an_id_and_a_comment() -> None:
    """What an operator reads is named and said in words."""
    bundle = Bundle.build(load_default_files(), SCHEMA)
    for ref in bundle.policies:
        assert "#" not in ref.id
        above = bundle.files[ref.file].splitlines()[: ref.line - 1]
        while above[-1].startswith(("@", "permit", "forbid")):
            above.pop()
        assert above[-1].startswith("//")
    assert sum(len(text.splitlines()) for text in bundle.files.values()) < 120


def ask_rule(point: PDP, action: str, rule: str = "denied_burst") -> Decision:
    """A rule asks whether its alert may bring this about."""
    context = reaction_context(NOW, "warning")
    resource = "Daemon::stockade" if action == "start_maintenance" else "Agent::bot"
    who = AlertRuleEntity(rule)
    return point.decide(Question(who.uid, action, uid(resource), context, (who,)))


@pytest.mark.parametrize("action", sorted(REACTING))
def test_no_alert_brings_anything_about_by_default(action: str) -> None:
    """Nobody permitted it, whoever may administer; a permit does, and any forbid wins."""
    assert ask_rule(default_pdp(), action).code is ReasonCode.NOT_PERMITTED
    rule = 'AlertRule::"denied_burst"'
    permit = f'permit (principal == {rule}, action == Action::"{action}", resource);'
    assert ask_rule(pdp(permit), action).allowed
    assert not ask_rule(pdp(permit), action, "tier_lost").allowed
    forbid = f"""forbid (principal == {rule}, action == Action::"{action}", resource)
        when {{ context.severity == "warning" }};"""
    assert not ask_rule(pdp(permit + forbid), action).allowed


@pytest.mark.parametrize("action", sorted(REACTING))
def test_no_device_reacts_for_an_alert(action: str) -> None:
    """These are a rule's questions: that of a device does not fit the schema."""
    everything = pdp("permit (principal, action, resource);")
    resource = "Daemon::stockade" if action == "start_maintenance" else "Agent::bot"
    asked = Question(
        uid("Device::dev-owners"), action, uid(resource), reaction_context(NOW, "warning")
    )
    assert everything.decide(asked).code is ReasonCode.BAD_REQUEST
