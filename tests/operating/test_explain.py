"""Explanations: a past decision by what was then, a supposed one by what is now, and no change."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from stockade.client import Client
from stockade.errors import BadRequest, NotFound, NotPermitted
from stockade.v1 import call_pb2, policy_pb2
from tests.operating.acting import join, leave
from tests.promises.acting import ALONE, add_tool, apply, ask, policy, run
from tests.running import RunningDaemon, finished

PERMITTED = call_pb2.CallEvent.Decision.VERDICT_PERMITTED
ASKED = call_pb2.CallEvent.Decision.VERDICT_NEEDS_APPROVAL
DENIED = call_pb2.CallEvent.Decision.VERDICT_DENIED
FORBID = '@id("no-shell")\nforbid (principal, action == Action::"call", resource == Tool::"{}");'
READ = {"workspace": "work", "path": "hello.txt"}


def explained(client: Client, call_id: str) -> policy_pb2.ExplainPolicyResponse:
    return client.explain_policy(policy_pb2.ExplainPolicyRequest(call_id=call_id))


def called(client: Client, tool: str, /, **arguments: str) -> str:
    """A whole call; its id."""
    return run(client, tool, **arguments)[0].call_id


def actions(one: policy_pb2.Explanation) -> list[str]:
    return [question.action for question in one.questions]


def entities(one: policy_pb2.Explanation) -> dict[str, Any]:
    return {entity["uid"]: entity for entity in json.loads(one.entities)}


def test_everything_that_led_to_a_decision(owner: Client) -> None:
    """Questions, policies with place and text, entities, context, risk, tier, time, receipt."""
    call_id = called(owner, "read_file", **READ)
    answer = explained(owner, call_id)
    [ruling] = answer.rulings
    assert (ruling.verdict, ruling.reason) == (PERMITTED, "PERMITTED")
    assert answer.principal == owner.who_am_i().principal
    assert json.loads(answer.arguments) == READ
    assert actions(ruling) == ["call", "run_in_process", "call_unattended"]
    last = ruling.questions[-1]
    assert [(ref.id, ref.file) for ref in last.policies] == [("unattended-reads", "calls.cedar")]
    [text] = last.texts
    in_force = {file.name: file.text for file in owner.get_policy().files}["calls.cedar"]
    begins = "\n".join(in_force.splitlines()[last.policies[0].line - 1 :])
    assert begins.startswith(text)
    told = entities(ruling)
    device = f'Device::"{owner.who_am_i().device.device_id}"'
    assert told[device]["parents"] == ['Group::"owners"']
    assert told['Tool::"read_file"']["attributes"]["provenance"] == "builtin"
    assert told['Workspace::"work"']["attributes"] == {"writable": True}
    context = json.loads(last.context)
    assert "arguments" not in context
    assert context["tier"] == "process"
    assert context["clock"]["epoch"] == ruling.time.ToMilliseconds() // 1000
    assert json.loads(ruling.risk_inputs)["code_trust"] == "1.0000"
    assert (ruling.risk_milli, ruling.tier_floor, ruling.tier) == (120, "process", "process")
    assert "a risk of 0.1200" in ruling.tier_reason
    assert "process-for-known-tools" in ruling.tier_reason
    receipts = owner.read_ledger(call_id=call_id).receipts
    [recorded] = [one for one in receipts if one.kind == "call.permitted"]
    assert (ruling.receipt_kind, ruling.receipt_sequence) == (recorded.kind, recorded.sequence)
    assert not ruling.notes
    assert answer.HasField("today")
    assert not answer.differences


def test_the_past_is_not_explained_by_todays_policy(owner: Client) -> None:
    """The policies of the time are named with their text, though they are gone; today differs."""
    with policy(owner, FORBID.format("run_shell")):
        then = owner.status().policy_digest
        call_id = called(owner, "run_shell", command="id")
    with policy(owner, ALONE):
        answer = explained(owner, call_id)
        [ruling] = answer.rulings
        assert (ruling.verdict, ruling.reason) == (DENIED, "FORBIDDEN")
        assert ruling.policy_digest == then
        [question] = ruling.questions
        assert [(ref.id, ref.line) for ref in question.policies] == [("no-shell", 1)]
        assert list(question.texts) == [FORBID.format("run_shell")]
        assert answer.today.verdict == PERMITTED
        assert answer.today.policy_digest == owner.status().policy_digest != then
        assert any("FORBIDDEN" in one and "PERMITTED" in one for one in answer.differences)


def test_the_past_is_not_explained_by_todays_entities(owner: Client, caller: Client) -> None:
    """Groups as they were: the requester has been moved, and the explanation shows from where."""
    call_id = called(caller, "read_file", **READ)
    device = caller.who_am_i().device.device_id
    owner.set_device_groups(device, ["auditors"])
    answer = explained(owner, call_id)
    [ruling] = answer.rulings
    assert entities(ruling)[f'Device::"{device}"']["parents"] == ['Group::"callers"']
    assert entities(answer.today)[f'Device::"{device}"']["parents"] == ['Group::"auditors"']
    assert answer.today.verdict == DENIED
    owner.set_device_groups(device, ["callers"])


def test_nested_groups_are_shown_as_they_led_there(owner: Client, approver: Client) -> None:
    """Every group on the way from principal to policy is among the entities."""
    owner.change_entities(
        [join("Group/approvers", "Group/late"), join("Group/late", "Group/night")]
    )
    text = ALONE + 'permit (principal in Group::"night", action == Action::"call", resource);'
    with policy(owner, text):
        call_id = called(approver, "list_files", workspace="work")
        told = entities(explained(owner, call_id).rulings[0])
    assert told['Group::"approvers"']["parents"] == ['Group::"late"']
    assert told['Group::"late"']["parents"] == ['Group::"night"']
    owner.change_entities(
        [leave("Group/approvers", "Group/late"), leave("Group/late", "Group/night")]
    )


def test_a_tool_that_is_gone(owner: Client) -> None:
    """The decision is still explained whole; how it would be today cannot be said."""
    add_tool(owner, "gone", ["/bin/true"], rest='[input.properties.text]\ntype = "string"\n')
    call_id = called(owner, "gone", text="x")
    owner.remove_tool("gone")
    answer = explained(owner, call_id)
    [ruling] = answer.rulings
    assert ruling.verdict == PERMITTED
    assert not ruling.notes
    assert 'Tool::"gone"' in entities(ruling)
    assert not answer.HasField("today")
    assert "gone" in answer.today_unknown


def test_an_approved_call_has_two_rulings_and_an_answer(owner: Client, approver: Client) -> None:
    """Why it was asked about, whose yes counted by which policy, and why that was enough."""
    waiting = ask(owner, "run_shell", command="true")
    approver.answer_approval(waiting.approval, approve=True, reason="seen")
    waiting.end()
    answer = explained(owner, waiting.call_id)
    asked, approved = answer.rulings
    assert (asked.verdict, asked.reason) == (ASKED, "APPROVAL_REQUIRED")
    assert actions(asked)[-1] == "call_unattended"
    assert (approved.verdict, approved.reason) == (PERMITTED, "APPROVED")
    assert actions(approved)[-1] == "call_attended"
    assert json.loads(approved.questions[-1].context)["approver_count"] == 1
    me = approver.who_am_i()
    assert f'Device::"{me.device.device_id}"' in entities(approved)
    [given] = answer.answers
    assert (given.approver, given.approved, given.reason) == (me.principal, True, "seen")
    [question] = given.questions
    assert (question.action, question.allowed) == ("approve", True)
    assert [ref.id for ref in question.policies] == ["approvers-approve"]


def test_a_policy_in_error_is_explained_with_its_error(owner: Client) -> None:
    """The error is named, in receipt and explanation, and quotes no argument."""
    fails = (
        '@id("fails") forbid (principal, action == Action::"call", resource) '
        "when { 9223372036854775807 + context.clock.epoch < 0 };"
    )
    with policy(owner, fails):
        answer = explained(owner, called(owner, "read_file", **READ))
    [ruling] = answer.rulings
    assert ruling.reason == "EVALUATION_ERROR"
    [error] = ruling.questions[0].errors
    assert "fails" in error
    assert "9223372036854775807" not in error


def test_after_a_restart_and_without_the_entities(daemon: RunningDaemon) -> None:
    """What was kept outlives a restart; else the receipt's answers stand, and it is said."""
    with daemon.client() as owner:
        call_id = called(owner, "read_file", **READ)
        before = explained(owner, call_id)
    daemon.restart()
    with daemon.client() as owner:
        assert explained(owner, call_id).rulings == before.rulings
    daemon.stop()
    with closing(sqlite3.connect(daemon.home.data / "stockade.db")) as connection, connection:
        connection.execute("DELETE FROM entity_snapshots")
    daemon.start()
    with daemon.client() as owner:
        [ruling] = explained(owner, call_id).rulings
    [whole] = before.rulings
    assert "no longer kept" in ruling.notes[0]
    assert actions(ruling) == actions(whole)
    assert [list(one.policies) for one in ruling.questions] == [
        list(one.policies) for one in whole.questions
    ]
    assert not ruling.entities
    assert not ruling.questions[0].context


def supposing(
    client: Client,
    tool: str = "run_shell",
    *,
    groups: tuple[str, ...] = ("callers",),
    approvers: tuple[str, ...] | None = None,
    change: Callable[[policy_pb2.ExplainPolicyRequest], None] = lambda _: None,
    arguments: dict[str, str] | None = None,
) -> policy_pb2.Explanation:
    """How a call would be decided."""
    request = policy_pb2.ExplainPolicyRequest()
    request.call.tool = tool
    request.call.arguments = json.dumps(arguments or {"command": "id"}).encode()
    request.call.by.device.groups.extend(groups)
    for one in approvers or ():
        request.call.approvers.add().device.groups.append(one)
    request.call.attended = approvers is not None
    change(request)
    [ruling] = client.explain_policy(request).rulings
    return ruling


def test_a_supposed_call_is_decided_as_the_real_one(owner: Client, caller: Client) -> None:
    """For each default group: what is supposed of it is what happens to a device in it."""
    assert supposing(owner).verdict == ASKED
    assert supposing(owner, groups=()).reason == "NOT_PERMITTED"
    assert supposing(owner, groups=("auditors",)).reason == "NOT_PERMITTED"
    assert supposing(owner, "read_file", arguments=READ).verdict == PERMITTED
    assert finished(run(caller, "read_file", **READ)).reason == "SUCCEEDED"


def test_supposed_approvers(owner: Client) -> None:
    """Those who may not answer do not count; a quorum is asked for like any."""
    two = '@id("two") forbid (principal, action == Action::"call_attended", resource) when '
    with policy(owner, two + "{ context.approver_count < 2 };"):
        assert supposing(owner, approvers=()).verdict == ASKED
        assert supposing(owner, approvers=("approvers",)).verdict == ASKED
        assert supposing(owner, approvers=("approvers", "callers")).verdict == ASKED
        both = supposing(owner, approvers=("approvers", "owners"))
        assert (both.verdict, both.reason) == (PERMITTED, "APPROVED")
        assert actions(both)[:2] == ["approve", "approve"]


def test_supposed_circumstances(owner: Client) -> None:
    """At another time, in maintenance, from elsewhere, by an agent, by another set."""
    night = (
        ALONE + '@id("night") forbid (principal, action == Action::"call", resource) when '
        '{ context.clock.hour >= 22 || context.origin == "10.0.0.9" || principal is Agent };'
    )

    def at(hour: int) -> Callable[[policy_pb2.ExplainPolicyRequest], None]:
        return lambda request: request.call.time.FromJsonString(f"2026-12-24T{hour}:30:00Z")

    def maintenance(request: policy_pb2.ExplainPolicyRequest) -> None:
        at(21)(request)
        request.call.maintenance = True

    def elsewhere(request: policy_pb2.ExplainPolicyRequest) -> None:
        at(21)(request)
        request.call.origin = "10.0.0.9"

    def agent(request: policy_pb2.ExplainPolicyRequest) -> None:
        at(21)(request)
        request.call.by.device.agent = True

    def first_version(request: policy_pb2.ExplainPolicyRequest) -> None:
        at(23)(request)
        request.policy.version = "1"

    with policy(owner, night):
        assert supposing(owner, change=at(21)).verdict == PERMITTED
        assert supposing(owner, change=at(22)).reason == "FORBIDDEN"
        assert supposing(owner, change=elsewhere).reason == "FORBIDDEN"
        assert supposing(owner, change=agent).reason == "FORBIDDEN"
        assert supposing(owner, change=first_version).verdict == ASKED
        stopped = supposing(owner, change=maintenance)
        assert [ref.id for ref in stopped.questions[-1].policies][-1:] == ["maintenance"]
        owners = supposing(owner, groups=("owners",), change=maintenance)
        assert "maintenance" not in [r.id for q in owners.questions for r in q.policies]


@pytest.mark.parametrize(
    ("tool", "arguments", "name", "code"),
    [
        ("no_such", {}, "", "UNKNOWN_TOOL"),
        ("read_file", {"workspace": "nowhere", "path": "a"}, "", "UNKNOWN_WORKSPACE"),
        ("read_file", {"path": 1}, "", "ARGUMENTS_INVALID"),
        ("run_shell", {"command": "id"}, "device/nobody", "UNKNOWN_DEVICE"),
        ("run_shell", {"command": "id"}, "agent/nobody", "UNKNOWN_AGENT"),
        ("run_shell", {"command": "id"}, "nobody", "BAD_REQUEST"),
    ],
)
def test_what_cannot_be_supposed(
    owner: Client, tool: str, arguments: dict[str, Any], name: str, code: str
) -> None:
    """What the call would be refused for before policy is said as that, not as policy's no."""
    request = policy_pb2.ExplainPolicyRequest()
    request.call.tool, request.call.arguments = tool, json.dumps(arguments).encode()
    request.call.by.name = name or "device/local"
    with pytest.raises((NotFound, BadRequest)) as caught:
        owner.explain_policy(request)
    assert caught.value.reason == code


def test_an_agents_manifest_is_asked_first(shared_daemon: RunningDaemon, owner: Client) -> None:
    """What an agent does not declare it does not get, in suppositions too."""
    manifest = shared_daemon.root / "helper.toml"
    manifest.write_text(
        'name = "helper"\nversion = "1"\nsummary = "s"\n[[code]]\npath = "h.py"\n'
        f'sha256 = "{"0" * 64}"\n[capabilities]\ntools = ["read_file"]\n'
    )
    home = shared_daemon.root / "helper-home"
    made = shared_daemon.cli(
        "agents", "enroll", "helper", "--manifest", str(manifest), "--home", str(home)
    )
    assert made.status == 0, made.err
    request = policy_pb2.ExplainPolicyRequest()
    request.call.by.name = "agent/helper"
    request.call.tool, request.call.arguments = "run_shell", b'{"command":"id"}'
    [ruling] = owner.explain_policy(request).rulings
    assert (ruling.verdict, ruling.reason) == (DENIED, "UNDECLARED_TOOL")
    request.call.tool, request.call.arguments = "read_file", json.dumps(READ).encode()
    [ruling] = owner.explain_policy(request).rulings
    assert ruling.verdict == PERMITTED
    assert actions(ruling)[:2] == ["call", "call"]


def test_a_supposed_act(owner: Client) -> None:
    """Administrative acts are explained like calls."""
    for groups, verdict in ((["operators"], DENIED), (["owners"], PERMITTED)):
        request = policy_pb2.ExplainPolicyRequest()
        request.act.action = "apply_policy"
        request.act.by.device.groups.extend(groups)
        [ruling] = owner.explain_policy(request).rulings
        assert ruling.verdict == verdict
        assert [one.action for one in ruling.questions] == ["apply_policy"]


def test_asking_changes_nothing(owner: Client) -> None:
    """No receipt, no version, no call comes of an explanation."""
    call_id = called(owner, "read_file", **READ)
    before = owner.status()
    explained(owner, call_id)
    supposing(owner)
    after = owner.status()
    assert after.ledger_sequence == before.ledger_sequence
    assert after.policy_version == before.policy_version


def test_who_may_ask(owner: Client, caller: Client) -> None:
    """Whoever may read all may; a caller may not, also of its own call: it names other people."""
    call_id = called(caller, "read_file", **READ)
    with pytest.raises(NotPermitted):
        explained(caller, call_id)
    with pytest.raises(NotFound):
        explained(owner, "01900000-0000-7000-8000-000000000001")
    with pytest.raises(BadRequest):
        explained(owner, "not an id")


def test_the_command_line(shared_daemon: RunningDaemon, owner: Client) -> None:
    """For people within 80 columns where words allow it; for programs as one document."""
    apply(owner, "")
    call_id = called(owner, "read_file", **READ)
    shown = shared_daemon.cli("policy", "explain", call_id)
    assert shown.status == 0
    for part in (
        "permitted, unattended",
        "calls.cedar:",
        "receipt ",
        "entities",
        "today      the same",
    ):
        assert part in shown.out
    document = json.loads(shared_daemon.cli("policy", "explain", call_id, "--json").out)
    assert document["rulings"][0]["verdict"] == "permitted"
    assert document["rulings"][0]["questions"][0]["context"]["tier"] == "process"
    assert document["arguments"] == READ
    supposed = shared_daemon.cli(
        *("policy", "explain", "--tool", "run_shell", "--arg", "command=id"),
        *("--group", "callers", "--approved-by", "group/approvers", "--at", "2026-12-24T23:00"),
    )
    assert "permitted, with approval" in supposed.out
    for wrong in ((), ("x", "--tool", "y"), ("--tool", "run_shell", "--at", "noon")):
        assert shared_daemon.cli("policy", "explain", *wrong).status == 2
    assert Path(shared_daemon.root).is_dir()


REFUSED = {
    "UNKNOWN_TOOL": ("no_such_tool", {}),
    "ARGUMENTS_INVALID": ("read_file", {"path": "hello.txt"}),
    "UNKNOWN_WORKSPACE": ("read_file", {**READ, "workspace": "nowhere"}),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_what_policy_was_not_asked_about(owner: Client, reason: str) -> None:
    """A call that ended before policy was asked: that, and why; today it would end the same."""
    tool, arguments = REFUSED[reason]
    answer = explained(owner, called(owner, tool, **arguments))
    [ruling] = answer.rulings
    assert (ruling.verdict, ruling.reason) == (DENIED, reason)
    assert not ruling.questions
    [note] = ruling.notes
    assert note.startswith("policy was not asked")
    assert reason in note
    assert (answer.today.reason, list(answer.differences)) == (reason, [])
    assert list(answer.today.notes) == [note]
