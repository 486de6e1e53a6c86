"""Leases against the running daemon: what they cover, how often, until when, and how they end."""

import json
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stockade.client import Client
from stockade.errors import Conflict, NotFound, NotPermitted, StockadeError
from stockade.home import Home
from stockade.v1 import call_pb2
from tests.approvals.leasing import asked, give, hence, raw, revoke_all, terms_for
from tests.attacks.enrolling import enroll_agent
from tests.promises.acting import ask, kinds, policy, receipts, run, until
from tests.running import RunningDaemon, finished

WRITE = {"path": {"below": "lease"}, "content": {"any": True}, "workspace": {"is": "work"}}
TRUE: Any = {"command": "true"}


def standing(client: Client) -> set[str]:
    return {one.lease_id for one in client.list_leases()}


@pytest.fixture(autouse=True)
def none_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test begins without leases."""
    yield
    if "shared_daemon" in request.fixturenames:
        with request.getfixturevalue("shared_daemon").client() as owner:
            revoke_all(owner)


def test_a_lease_stands_in_for_asking_and_says_so(owner: Client, approver: Client) -> None:
    """The same call runs unasked; decision, receipts and list name the lease and what it means."""
    terms = give(owner, approver, "run_shell", **TRUE)
    events = list(owner.call("run_shell", TRUE))
    assert finished(events).state == call_pb2.CALL_STATE_SUCCEEDED
    [decision] = [event.decision for event in events if event.HasField("decision")]
    assert decision.reason == "LEASED"
    assert [one.id for one in decision.policies] == [f"lease:{terms.lease_id}"]
    call_id = events[0].call_id
    assert "lease.used" in kinds(owner, call_id)
    [used] = [one["body"] for one in receipts(owner, call_id) if one["kind"] == "lease.used"]
    assert (used["lease"], used["number"], used["of"]) == (terms.lease_id, 1, 5)
    assert used["terms_digest"] == terms.digest()
    [permitted] = [one for one in receipts(owner, call_id) if one["kind"] == "call.permitted"]
    assert permitted["body"]["policies"] == [f"lease:{terms.lease_id}"]
    [lease] = owner.list_leases()
    assert (lease.lease_id, lease.state, lease.uses) == (terms.lease_id, "active", 1)
    assert lease.terms == terms.encode()
    assert (lease.signer_name, lease.holder_name) == ("approver", "local")
    assert "call_unattended" in lease.policies[0]


def test_another_call_is_asked_about(owner: Client, approver: Client) -> None:
    """One byte of the arguments, another tool, one argument more: a person is asked."""
    give(owner, approver, "run_shell", **TRUE)
    assert not asked(owner, "run_shell", command="true")
    assert asked(owner, "run_shell", command="true ")
    assert asked(owner, "run_shell", command="true", workspace="work")
    assert asked(owner, "run_python", code="true")


def test_bounded_arguments_hold(owner: Client, approver: Client, workspace: Path) -> None:
    """Below a path is below it, however the path is spelled."""
    folder = workspace / "lease"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    give(
        owner,
        approver,
        "write_file",
        bounds=WRITE,
        path="lease/a",
        content="x",
        workspace="work",
    )
    good = {"content": "y", "workspace": "work"}
    assert not asked(owner, "write_file", path="lease/b", **good)
    for path in ("leases/b", "lease2", "./lease/b", "lease\u200b/b", "LEASE/b"):
        assert asked(owner, "write_file", path=path, **good), path
    # Nor by a name that leads out again, which this tool does not even take.
    end = finished(run(owner, "write_file", path="lease/../b", **good))
    assert end.reason == "ARGUMENTS_INVALID"


def test_every_use_counts_and_the_last_is_the_last(owner: Client, approver: Client) -> None:
    """Ten at once for three uses: three run, seven are asked about, and then it is used up."""
    terms = give(owner, approver, "run_shell", uses=3, **TRUE)
    ends: list[bool] = []

    def call() -> None:
        ends.append(asked(owner, "run_shell", command="true"))

    threads = [threading.Thread(target=call) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sorted(ends) == [False] * 3 + [True] * 7
    assert until(lambda: not owner.list_leases())
    [ended] = [one for one in owner.list_leases(ended=True) if one.lease_id == terms.lease_id]
    assert (ended.state, ended.uses) == ("used_up", 3)


def test_a_lease_ends_in_its_time(owner: Client, approver: Client) -> None:
    """From its end on nothing runs by it, and its end is recorded."""
    terms = give(owner, approver, "run_shell", seconds=20, **TRUE)
    assert not asked(owner, "run_shell", command="true")
    time.sleep(max(0.0, terms.expires_ms / 1000 - time.time()) + 0.2)
    assert asked(owner, "run_shell", command="true")
    assert until(lambda: not owner.list_leases())
    found = [one for one in owner.list_leases(ended=True) if one.lease_id == terms.lease_id]
    assert [one.state for one in found] == ["expired"]


def test_revoked_it_is_revoked_at_once(owner: Client, approver: Client) -> None:
    """When the command returns, no call begins by it; it cannot be revoked twice."""
    terms = give(owner, approver, "run_shell", **TRUE)
    assert not asked(owner, "run_shell", command="true")
    answer = approver.revoke_lease(terms.lease_id)
    assert asked(owner, "run_shell", command="true")
    assert answer.lease.state == "revoked"
    body = json.loads(answer.receipt.canonical)["body"]
    assert (body["lease"], body["terms_digest"]) == (terms.lease_id, terms.digest())
    with pytest.raises(Conflict) as caught:
        approver.revoke_lease(terms.lease_id)
    assert caught.value.reason == "LEASE_ENDED"
    with pytest.raises(NotFound):
        approver.revoke_lease("guessed")


def test_revoking_reaches_running_calls_if_asked(owner: Client, approver: Client) -> None:
    """With `running` the calls that run by it end within a second; without, they go on."""
    slow: Any = {"command": "sleep 2"}
    terms = give(owner, approver, "run_shell", **slow)
    events = owner.call("run_shell", slow)
    for event in events:
        if event.HasField("started"):
            break
    approver.revoke_lease(terms.lease_id, running=True)
    end = list(events)[-1].finished
    assert (end.state, end.reason) == (call_pb2.CALL_STATE_CANCELLED, "LEASE_REVOKED")


def test_any_forbid_still_wins(owner: Client, approver: Client) -> None:
    """A lease that is tied to no policy stands under a new one, and what that forbids stays so."""
    give(owner, approver, "run_shell", tied=False, **TRUE)
    with policy(owner, "// another set"):
        assert not asked(owner, "run_shell", command="true")
    text = 'forbid (principal, action == Action::"call_unattended", resource);'
    with policy(owner, text):
        assert asked(owner, "run_shell", command="true")
    nobody = 'forbid (principal, action == Action::"call", resource == Tool::"run_shell");'
    with policy(owner, nobody):
        end = finished(list(owner.call("run_shell", TRUE)))
        assert (end.state, end.reason) == (call_pb2.CALL_STATE_DENIED, "FORBIDDEN")


def test_tied_to_its_policy_it_stands_under_no_other(owner: Client, approver: Client) -> None:
    """Any change of the policy makes people be asked again; the same policy is the same."""
    give(owner, approver, "run_shell", **TRUE)
    with policy(owner, "// another set"):
        assert asked(owner, "run_shell", command="true")
    assert not asked(owner, "run_shell", command="true")


def test_a_rule_for_two_people_is_not_got_round(owner: Client, approver: Client) -> None:
    """One person's lease is not enough where two must approve, given before or after the rule."""
    two = 'forbid (principal, action == Action::"call_attended", resource) '
    two += "when { context.approver_count < 2 };"
    give(owner, approver, "run_shell", tied=False, **TRUE)
    with policy(owner, two):
        assert asked(owner, "run_shell", command="true")
        waiting = ask(owner, "run_shell", command="id")
        terms = terms_for(waiting)
        approver.answer_approval(waiting.approval, approve=True, lease=terms)
        assert terms.lease_id not in standing(owner)
        owner.cancel_call(waiting.call_id)
        assert asked(owner, "run_shell", command="id")
        assert terms.lease_id not in standing(owner)


def test_policy_says_how_wide_a_lease_may_be(owner: Client, approver: Client) -> None:
    """Longer or oftener than policy lets this person give: refused, and the call still waits."""
    for wide in ({"seconds": 9 * 3600}, {"uses": 1001}):
        waiting = ask(owner, "run_shell", command="id")
        with pytest.raises(NotPermitted) as caught:
            approver.answer_approval(
                waiting.approval,
                approve=True,
                lease=terms_for(waiting, **wide),  # type: ignore[arg-type]
            )
        assert caught.value.reason == "MAY_NOT_LEASE"
        assert kinds(owner, waiting.call_id)[-2:] == ["call.pending_approval", "approval.shown"]
        owner.cancel_call(waiting.call_id)
    assert not owner.list_leases()


def test_who_may_no_longer_give_it_has_given_none(
    shared_daemon: RunningDaemon, owner: Client
) -> None:
    """An approver that leaves the group takes its leases along; back in it, they stand again."""
    home = shared_daemon.pair_device("mover", "approvers")
    with Client.open(home) as mover:
        give(owner, mover, "run_shell", **TRUE)
        owner.set_device_groups(mover.credentials.device_id, ["auditors"])
        assert asked(owner, "run_shell", command="true")
        owner.set_device_groups(mover.credentials.device_id, ["approvers"])
        assert not asked(owner, "run_shell", command="true")


@pytest.mark.parametrize("who", ["caller", "signer"])
def test_a_lease_is_void_with_its_device(
    shared_daemon: RunningDaemon, owner: Client, approver: Client, who: str
) -> None:
    """Revoking the device that has it, or that gave it, voids it at once and for good."""
    home = shared_daemon.pair_device(f"gone {who}", "callers", "approvers")
    with Client.open(home) as device:
        caller, signer = (device, approver) if who == "caller" else (owner, device)
        terms = give(caller, signer, "run_shell", **TRUE)
        owner.revoke_device(device.credentials.device_id)
    if who == "signer":
        assert asked(owner, "run_shell", command="true")
    assert until(lambda: terms.lease_id not in standing(owner))
    [ended] = [one for one in owner.list_leases(ended=True) if one.lease_id == terms.lease_id]
    assert (ended.state, ended.reason) == ("void", "PRINCIPAL_GONE")


def test_another_caller_has_nothing_of_it(
    shared_daemon: RunningDaemon, owner: Client, approver: Client
) -> None:
    """Not another device, and not the agent of the device that has it."""
    give(owner, approver, "run_shell", **TRUE)
    with Client.open(shared_daemon.pair_device("other", "callers", "approvers")) as other:
        assert asked(other, "run_shell", command="true")
    with enroll_agent(shared_daemon, "bot").client() as bot:
        assert asked(bot, "run_shell", command="true")


def test_an_agents_lease_is_the_agents_alone(
    shared_daemon: RunningDaemon, owner: Client, approver: Client
) -> None:
    """A lease for an agent covers the agent's calls and none of its device's; it ends with it."""
    agent = enroll_agent(shared_daemon, "leased")
    with agent.client() as bot:
        waiting_call = {"command": "true"}
        events = bot.call("run_shell", waiting_call)
        for event in events:
            if event.HasField("awaiting_approval"):
                break
        from tests.promises.acting import Waiting

        approval = approver.get_approval(event.awaiting_approval.approval_id)
        waiting = Waiting(event.call_id, events, approval)
        terms = terms_for(waiting)
        approver.answer_approval(approval, approve=True, lease=terms)
        assert waiting.end().state == call_pb2.CALL_STATE_SUCCEEDED
        assert not asked(bot, "run_shell", command="true")
        assert asked(owner, "run_shell", command="true")
    owner.revoke_agent(agent.id)
    assert until(lambda: terms.lease_id not in standing(owner))


def test_a_lease_is_given_with_the_signers_key_about_the_waiting_call(
    owner: Client, approver: Client
) -> None:
    """Unsigned, signed by another, about another call, another tool or tier: refused as a whole."""
    waiting, twin = (ask(owner, "run_shell", command="id") for _ in range(2))
    terms = terms_for(waiting)
    forged = [
        (terms.encode(), b""),
        (terms.encode(), b"yes"),
        (terms_for(twin).encode(), None),
        (replace(terms, tool="run_python").encode(), None),
        (replace(terms, tool_digest="00" * 32).encode(), None),
        (replace(terms, tier="container").encode(), None),
        (replace(terms, principal="device/dev-aaaaaaaaaaaaaaaa").encode(), None),
        (replace(terms, exactly={"command": "ls"}).encode(), None),
        (replace(terms, expires_ms=hence(-1)).encode(), None),
        (replace(terms, policy_digest="00" * 32).encode(), None),
        (replace(terms, parent="00" * 32).encode(), None),
        (terms.encode() + b" ", None),
    ]
    for data, signature in forged:
        with pytest.raises(StockadeError) as caught:
            raw(approver, waiting, data, signature)
        assert caught.value.reason in ("BAD_SIGNATURE", "LEASE_REFUSED", "LEASE_USELESS")
    assert kinds(owner, waiting.call_id)[-2:] == ["call.pending_approval", "approval.shown"]
    assert not owner.list_leases()
    for one in (waiting, twin):
        owner.cancel_call(one.call_id)


def test_the_requester_gives_itself_no_lease(owner: Client) -> None:
    """Nor can a lease be given without an answer that counts."""
    waiting = ask(owner, "run_shell", command="id")
    with pytest.raises(NotPermitted):
        owner.answer_approval(waiting.approval, approve=True, lease=terms_for(waiting))
    assert not owner.list_leases()
    owner.cancel_call(waiting.call_id)


def test_the_command_line_gives_shows_and_ends_leases(
    shared_daemon: RunningDaemon, owner: Client, approver_home: Home
) -> None:
    """What is given is shown in words before; list and show say what it covers; revoke ends it."""
    waiting = ask(owner, "run_shell", command="true")
    short = waiting.approval.approval_id[:13]
    refused = shared_daemon.cli("approvals", "approve", short, "--yes", "--bound", "command=any")
    assert refused.status == 2
    given = shared_daemon.cli(
        *("approvals", "approve", short, "--yes", "--for", "1h", "--uses", "2"),
        *("--bound", "command=one_of:true,id"),
        home=approver_home,
    )
    assert given.status == 0, given.err
    assert 'command: one of "true", "id"' in given.err
    assert "no other argument" in given.err
    assert waiting.end().state == call_pb2.CALL_STATE_SUCCEEDED
    assert not asked(owner, "run_shell", command="id")
    assert asked(owner, "run_shell", command="id -u")
    [lease] = shared_daemon.cli("leases", "list", "--json").lines()
    lease_id = str(lease["lease_id"])
    assert max(map(len, shared_daemon.cli("leases", "list").out.splitlines())) <= 80
    shown = shared_daemon.cli("leases", "show", lease_id[:13]).out
    assert 'command: one of "true", "id"' in shown
    assert "uses        2 at most" in shown
    assert "used       1 times" in shown
    assert "permit (" in shown
    ended = shared_daemon.cli("leases", "revoke", lease_id[:13], home=approver_home)
    assert ended.status == 0
    assert asked(owner, "run_shell", command="id")
    assert shared_daemon.cli("leases", "list").out == ""
