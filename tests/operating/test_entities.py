"""Groups in groups, toolsets and tags: told to policy at once, bound to approvals, recorded."""

import json
from collections.abc import Callable

import pytest

from stockade.client import Client
from stockade.errors import BadRequest, NotFound, NotPermitted, StockadeError
from stockade.home import Home
from stockade.v1 import call_pb2, policy_pb2
from tests.operating.acting import join, last_receipt, leave, tag, untag
from tests.promises.acting import ALONE, add_tool, ask, policy, run
from tests.running import RunningDaemon, finished

DANGEROUS = '@id("d") forbid (principal, action == Action::"call", resource in Toolset::"bad");'
TAGGED = (
    '@id("t") forbid (principal, action == Action::"call", resource) when '
    '{ resource.hasTag("state") && resource.getTag("state") == "off" };'
)
NIGHT = (
    'permit (principal in Group::"night", action == Action::"call", resource);'
    'permit (principal in Group::"night", action == Action::"call_unattended", resource);'
)


def reason(client: Client, tool: str = "run_shell", **arguments: str) -> str:
    """How a call ends."""
    return finished(run(client, tool, **(arguments or {"command": "id"}))).reason


def test_a_change_is_in_force_at_once(owner: Client) -> None:
    """Toolset and tag decide the very next call, and no longer once they are taken away."""
    with policy(owner, ALONE + DANGEROUS + TAGGED):
        for put, take in (
            (join("Tool/run_shell", "Toolset/bad"), leave("Tool/run_shell", "Toolset/bad")),
            (tag("Tool/run_shell", "state", "off"), untag("Tool/run_shell", "state")),
        ):
            assert reason(owner) == "SUCCEEDED"
            owner.change_entities([put])
            assert reason(owner) == "FORBIDDEN"
            owner.change_entities([take])
            assert reason(owner) == "SUCCEEDED"


def test_a_group_in_a_group(owner: Client, approver: Client) -> None:
    """Who is in a group is in what that group is in: approvers may call while they are."""
    with policy(owner, NIGHT):
        assert reason(approver) == "NOT_PERMITTED"
        owner.change_entities(
            [join("Group/approvers", "Group/late"), join("Group/late", "Group/night")]
        )
        assert reason(approver) == "SUCCEEDED"
        owner.change_entities(
            [leave("Group/late", "Group/night"), leave("Group/approvers", "Group/late")]
        )
        assert reason(approver) == "NOT_PERMITTED"


def test_the_groups_of_approvers_are_all_they_are_in(owner: Client, approver: Client) -> None:
    """`approver_groups` has a group that an approver is in by way of another."""
    board = (
        '@id("board") forbid (principal, action == Action::"call_attended", resource) '
        'unless { context.approver_groups.contains(Group::"board") };'
    )
    owner.change_entities([join("Group/approvers", "Group/board")])
    with policy(owner, board):
        waiting = ask(owner, "run_shell", command="true")
        approver.answer_approval(waiting.approval, approve=True)
        assert waiting.end().state == call_pb2.CALL_STATE_SUCCEEDED
    owner.change_entities([leave("Group/approvers", "Group/board")])


def test_entity_data_changed_voids_the_approval(owner: Client, approver: Client) -> None:
    """What the approver was shown was asked under other entity data: the yes does not hold."""
    waiting = ask(owner, "run_shell", command="id")
    owner.change_entities([tag("Tool/write_file", "seen", "yes")])
    approver.answer_approval(waiting.approval, approve=True)
    end = waiting.end()
    assert (end.state, end.reason) == (call_pb2.CALL_STATE_DENIED, "APPROVAL_VOID")
    assert not waiting.started
    owner.change_entities([untag("Tool/write_file", "seen")])


def test_entity_data_that_came_back_is_the_same(owner: Client, approver: Client) -> None:
    """Changed and changed back, the call is as it was shown."""
    waiting = ask(owner, "run_shell", command="true")
    owner.change_entities([tag("Tool/write_file", "seen", "yes")])
    owner.change_entities([untag("Tool/write_file", "seen")])
    approver.answer_approval(waiting.approval, approve=True)
    assert waiting.end().state == call_pb2.CALL_STATE_SUCCEEDED


def test_a_device_paired_meanwhile_voids_nothing(
    shared_daemon: RunningDaemon, owner: Client
) -> None:
    """Who may approve is asked when they do: a device that came later can be the one that does."""
    waiting = ask(owner, "run_shell", command="true")
    with Client.open(shared_daemon.pair_device("late", "approvers")) as late:
        late.answer_approval(waiting.approval, approve=True)
    assert waiting.end().state == call_pb2.CALL_STATE_SUCCEEDED


def test_a_change_of_a_devices_groups_is_asked_about_anew(
    shared_daemon: RunningDaemon, owner: Client, approver: Client
) -> None:
    """A requester that may no longer call is denied at the yes, whatever was shown before it."""
    with Client.open(shared_daemon.pair_device("both", "callers", "auditors")) as asking:
        waiting = ask(asking, "run_shell", command="id")
        owner.set_device_groups(asking.who_am_i().device.device_id, ["auditors"])
        approver.answer_approval(waiting.approval, approve=True)
        end = waiting.end()
    assert (end.state, end.reason) == (call_pb2.CALL_STATE_DENIED, "NOT_PERMITTED")


def test_a_decision_carries_the_digest_of_entity_data(owner: Client) -> None:
    """The same call, the same policies, other entity data: another digest in event and receipt."""

    def digest() -> str:
        events = run(owner, "list_files", workspace="work")
        [decision] = [event.decision for event in events if event.HasField("decision")]
        [receipt] = [
            json.loads(one.canonical)["body"]
            for one in owner.read_ledger(call_id=events[0].call_id).receipts
            if one.kind == "call.permitted"
        ]
        assert receipt["policy_digest"] == decision.policy_digest == owner.status().policy_digest
        return decision.policy_digest

    before = digest()
    owner.change_entities([tag("Tool/list_files", "k", "v")])
    between = digest()
    owner.change_entities([untag("Tool/list_files", "k")])
    assert between != before
    assert digest() == before


def test_a_change_leaves_a_receipt_of_what_and_by_whom(owner: Client) -> None:
    """Every change is in the ledger, with the digest that it made."""
    changes = [join("Tool/run_shell", "Toolset/bad"), tag("Tool/run_shell", "k", "v")]
    done = owner.change_entities(changes)
    body = last_receipt(owner, "policy.entities")
    assert body["principal"] == owner.who_am_i().principal
    assert (body["policy_digest"], body["version"]) == (done.policy_digest, done.version)
    assert body["changes"] == [
        {"change": "join", "child": 'Tool::"run_shell"', "parent": 'Toolset::"bad"'},
        {"change": "tag", "entity": 'Tool::"run_shell"', "key": "k", "value": "v"},
    ]
    owner.change_entities([leave("Tool/run_shell", "Toolset/bad"), untag("Tool/run_shell", "k")])


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ([], "TOO_MANY_ENTITIES"),
        ([tag("Tool/run_shell", "k", "v")] * 1001, "TOO_MANY_ENTITIES"),
        ([policy_pb2.ChangeEntitiesRequest.Change()], "BAD_REQUEST"),
        ([join("Tool/run_shel", "Toolset/bad")], "UNKNOWN_ENTITY"),
        ([join("Agent/nobody", "Group/robots")], "UNKNOWN_ENTITY"),
        ([tag("Device/nobody", "k", "v")], "UNKNOWN_ENTITY"),
        ([tag("Tool/run_shell", "K", "v")], "BAD_TAG"),
        ([join("Tool/run_shell", "Toolset/builtin")], "RESERVED_TOOLSET"),
        ([join("Group/a", "Group/b"), join("Group/b", "Group/a")], "ENTITY_CYCLE"),
        ([join("Group/a", "Group/b"), leave("Group/a", "Group/c")], "NOT_A_MEMBER"),
        ([join("Group/a", "Group/B")], "BAD_ID"),
        ([join("Nothing/a", "Group/b")], "UNKNOWN_ENTITY"),
        ([join("Tool/run_shell", "Group/owners")], "BAD_MEMBERSHIP"),
    ],
)
def test_all_of_a_request_or_none_of_it(
    owner: Client, changes: list[policy_pb2.ChangeEntitiesRequest.Change], code: str
) -> None:
    """One change that cannot be keeps all from being made; no version, no receipt."""
    before = owner.status()
    with pytest.raises((BadRequest, NotFound)) as caught:
        owner.change_entities(changes)
    assert caught.value.reason == code
    assert caught.value.fix or code == "BAD_REQUEST"
    after = owner.status()
    assert after.policy_version == before.policy_version
    assert after.policy_digest == before.policy_digest
    assert not owner.get_entities().memberships


def test_what_is_said_of_a_tool_outlives_it(owner: Client) -> None:
    """A tool that is gone is shown as not there; one of its name that comes is what it was."""
    add_tool(owner, "comes", ["/bin/true"])
    owner.change_entities([join("Tool/comes", "Toolset/bad")])
    owner.remove_tool("comes")
    [membership] = owner.get_entities().memberships
    assert (membership.child.id, membership.exists) == ("comes", False)
    add_tool(owner, "comes", ["/bin/true"])
    with policy(owner, ALONE + DANGEROUS):
        assert finished(run(owner, "comes")).reason == "FORBIDDEN"
    owner.remove_tool("comes")
    owner.change_entities([leave("Tool/comes", "Toolset/bad")])


def test_an_agents_declared_toolset_is_the_operators_too(
    shared_daemon: RunningDaemon, owner: Client
) -> None:
    """An agent that declares a toolset may call what the operator put into it, at any level."""
    manifest = shared_daemon.root / "bot.toml"
    manifest.write_text(
        'name = "bot"\nversion = "1"\nsummary = "s"\n[[code]]\npath = "bot.py"\n'
        f'sha256 = "{"0" * 64}"\n[capabilities]\ntoolsets = ["chores"]\n'
    )
    home = shared_daemon.root / "bot-home"
    made = shared_daemon.cli(
        "agents", "enroll", "bot", "--manifest", str(manifest), "--home", str(home)
    )
    assert made.status == 0, made.err
    with Client.open(Home.under(home)) as agent:
        arguments = {"workspace": "work"}
        assert reason(agent, "list_files", **arguments) == "UNDECLARED_TOOL"
        owner.change_entities(
            [join("Tool/list_files", "Toolset/small"), join("Toolset/small", "Toolset/chores")]
        )
        assert reason(agent, "list_files", **arguments) == "SUCCEEDED"
        owner.change_entities(
            [leave("Tool/list_files", "Toolset/small"), leave("Toolset/small", "Toolset/chores")]
        )
        assert reason(agent, "list_files", **arguments) == "UNDECLARED_TOOL"


def test_only_owners_change_them(caller: Client, approver: Client) -> None:
    """What policies are told is as much as the policies are."""
    attempts: list[Callable[[Client], object]] = [
        lambda client: client.change_entities([join("Group/callers", "Group/owners")]),
        lambda client: client.set_maintenance(on=True),
        lambda client: client.rollback_policy("1"),
        lambda client: client.get_entities(),
    ]
    for client in (caller, approver):
        for attempt in attempts:
            with pytest.raises(NotPermitted):
                attempt(client)


def test_the_command_line(shared_daemon: RunningDaemon) -> None:
    """Groups, toolsets and tags by the names that people use."""
    cli = shared_daemon.cli
    added = cli("policy", "groups", "add", "operators", "night", "weekend")
    assert added.out.startswith("in force: version ")
    assert "void" in added.err
    assert "group/night" in cli("policy", "groups", "list").out
    assert cli("policy", "toolsets", "add", "bad", "run_shell").status == 0
    assert cli("policy", "toolsets", "add", "worse", "toolset/bad").status == 0
    listed = cli("policy", "toolsets", "list").out.split()
    assert listed == ["member", "is", "in", "tool/run_shell", "bad", "toolset/bad", "worse"]
    assert cli("policy", "tags", "set", "tool/run_shell", "a=b", "c=d=e").status == 0
    assert cli("policy", "tags", "set", "device/local", "desk=3").status == 0
    shown = json.loads(cli("policy", "tags", "list", "--json").out)["tags"]
    assert [(one["entity"]["type"], one["key"], one["value"]) for one in shown] == [
        ("Device", "desk", "3"),
        ("Tool", "a", "b"),
        ("Tool", "c", "d=e"),
    ]
    assert cli("policy", "tags", "unset", "tool/run_shell", "a", "c").status == 0
    assert cli("policy", "tags", "unset", "device/local", "desk").status == 0
    assert cli("policy", "groups", "remove", "operators", "night", "weekend").status == 0
    assert cli("policy", "toolsets", "remove", "bad", "run_shell").status == 0
    assert cli("policy", "toolsets", "remove", "worse", "toolset/bad").status == 0
    assert cli("policy", "groups", "list").err.startswith("nothing was put")
    for wrong in (("tags", "set", "run_shell", "a=b"), ("tags", "set", "tool/run_shell", "a")):
        assert cli("policy", *wrong).status == 2
    assert cli("policy", "toolsets", "add", "bad", "nothing").status == 1


def test_a_refusal_is_said_with_its_way_out(shared_daemon: RunningDaemon) -> None:
    """The command line shows code, reason and fix."""
    shown = shared_daemon.cli("policy", "toolsets", "add", "builtin", "run_shell")
    assert shown.status == 1
    assert "RESERVED_TOOLSET" in shown.err
    assert "fix: " in shown.err
    assert issubclass(BadRequest, StockadeError)
