"""Whose yes counts: people and not devices, others after a time, and who was shown what."""

import json
import signal
from collections.abc import Iterator

import pytest

from stockade.approving import verified
from stockade.client import Client
from stockade.errors import BadRequest, NotPermitted
from stockade.home import Home
from stockade.v1 import call_pb2, policy_pb2
from tests.operating.acting import uid
from tests.promises.acting import ask, kinds, policy, receipts, until
from tests.running import CONFIG, RunningDaemon, running

TWO_PEOPLE = '@id("two") forbid (principal, action == Action::"call_attended", resource)'
TWO_PEOPLE += " when { context.people_count < 2 };"
NOT_OWN = """
@id("not-own") forbid (principal, action in [Action::"approve", Action::"grant_lease"], resource)
when {
  principal.hasTag("person") && context.requester.device.hasTag("person") &&
  principal.getTag("person") == context.requester.device.getTag("person")
};
"""
LATER = """
@id("later") permit (principal in Group::"on-call", action == Action::"approve", resource)
when { context.waited >= 2 };
@id("see") permit (principal in Group::"on-call", action in Action::"review", resource);
"""


@pytest.fixture(scope="module")
def second_home(shared_daemon: RunningDaemon) -> Home:
    return shared_daemon.pair_device("tablet", "approvers")


@pytest.fixture(scope="module")
def second(second_home: Home) -> Iterator[Client]:
    """Another device of the approver's."""
    with Client.open(second_home) as client:
        yield client


def belong(owner: Client, person: str, *devices: Client) -> None:
    """Says whose these devices are."""
    owner.change_entities(
        policy_pb2.ChangeEntitiesRequest.Change(
            tag=policy_pb2.Tag(
                entity=uid(f"Device/{one.who_am_i().device.device_id}"), key="person", value=person
            )
        )
        for one in devices
    )


def test_two_devices_of_one_person_are_not_two_people(
    shared_daemon: RunningDaemon, owner: Client, approver: Client, second: Client
) -> None:
    """Where policy wants two people, ada's phone and tablet are one; a third device is another."""
    home = shared_daemon.pair_device("other", "approvers")
    belong(owner, "ada", approver, second)
    with policy(owner, TWO_PEOPLE), Client.open(home) as other:
        waiting = ask(owner, "run_shell", command="true")
        approver.answer_approval(waiting.approval, approve=True)
        second.answer_approval(waiting.approval, approve=True)
        assert "call.permitted" not in kinds(owner, waiting.call_id)
        other.answer_approval(waiting.approval, approve=True)
        assert waiting.end().state == call_pb2.CALL_STATE_SUCCEEDED
    [permit] = [
        r["body"] for r in receipts(owner, waiting.call_id) if r["kind"] == "call.permitted"
    ]
    assert len(permit["heard"]["approvers"]) == 3
    told = owner.explain_policy(policy_pb2.ExplainPolicyRequest(call_id=waiting.call_id))
    last = json.loads(told.rulings[-1].questions[-1].context)
    assert last["people_count"] == 2
    assert not told.rulings[-1].notes


def test_a_second_spelling_makes_no_second_person(
    owner: Client, approver: Client, second: Client
) -> None:
    """Where policy wants two people, a tag that differs in case or spaces would be a way around."""
    belong(owner, "ada", approver)
    for person in ("Ada", "ADA", "a da", "ada ", "\u0430da"):
        with pytest.raises(BadRequest) as caught:
            belong(owner, person, second)
        assert caught.value.reason == "BAD_TAG"
        assert caught.value.fix
    belong(owner, "bo", second)


def test_another_device_of_the_requesters_does_not_approve(
    owner: Client, approver: Client, second: Client
) -> None:
    """Where policy says so: neither once nor by a lease, though it is another device."""
    belong(owner, "ada", approver)
    belong(owner, "bo", owner, second)
    try:
        with policy(owner, NOT_OWN):
            waiting = ask(owner, "run_shell", command="true")
            with pytest.raises(NotPermitted) as caught:
                second.answer_approval(waiting.approval, approve=True)
            assert caught.value.reason == "MAY_NOT_APPROVE"
            approver.answer_approval(waiting.approval, approve=True)
            assert waiting.end().state == call_pb2.CALL_STATE_SUCCEEDED
    finally:
        belong(owner, "cy", owner)


def test_a_second_group_may_answer_after_a_time() -> None:
    """Before, it may not; then caller, watchers and ledger are told who may, and it answers."""
    config = CONFIG + "[approvals]\nescalate_after_seconds = 5\n"
    with running(config) as daemon, daemon.client() as owner:
        home = daemon.pair_device("pager", "on-call")
        with policy(owner, LATER), Client.open(home) as pager:
            watching = pager.watch_approvals()
            waiting = ask(owner, "run_shell", command="true")
            assert not waiting.approval.HasField("escalated")
            with pytest.raises(NotPermitted) as caught:
                pager.answer_approval(waiting.approval, approve=True)
            assert caught.value.reason == "MAY_NOT_APPROVE"
            again = next(
                event.awaiting_approval
                for event in waiting.events
                if event.HasField("awaiting_approval")
            )
            assert "pager" in again.approvers
            seen = next(one.approval for one in watching if one.approval.HasField("escalated"))
            assert seen.approval_id == waiting.approval.approval_id
            pager.answer_approval(waiting.approval, approve=True)
            assert waiting.end().state == call_pb2.CALL_STATE_SUCCEEDED
            found = [r["body"] for r in receipts(owner, waiting.call_id)]
            [told] = [one for one in found if "may_answer" in one]
            assert told["may_answer"] == ["pager"]


def test_escalation_reaches_what_waits_in_the_database_alone() -> None:
    """A detached call that nobody looks at is escalated, once, and across a kill of the daemon."""
    config = CONFIG + "[approvals]\nescalate_after_seconds = 2\n"
    with running(config) as daemon:
        with daemon.client() as owner:
            waiting = ask(owner, "run_shell", detach=True, command="true")
            waiting.events.cancel()
        daemon.restart(signal.SIGKILL)
        with daemon.client() as owner:
            assert until(lambda: "approval.escalated" in kinds(owner, waiting.call_id))
            assert not until(
                lambda: kinds(owner, waiting.call_id).count("approval.escalated") > 1, 1.5
            )


def test_who_was_shown_it_is_recorded_before_it_is_sent(
    owner: Client, approver: Client, second: Client
) -> None:
    """By list, id or watching, once a device; who has only called has been shown nothing."""
    events = owner.call("run_shell", {"command": "true"})
    asked = next(event for event in events if event.HasField("awaiting_approval"))
    assert "approval.shown" not in kinds(owner, asked.call_id)
    approval_id = asked.awaiting_approval.approval_id
    for _ in range(2):
        approval = approver.get_approval(approval_id)
        assert [one.device_name for one in approval.shown_to] == ["approver"]
    [listed] = [one for one in second.list_approvals() if one.approval_id == approval_id]
    assert [one.device_name for one in listed.shown_to] == ["approver", "tablet"]
    found = [one for one in receipts(owner, asked.call_id) if one["kind"] == "approval.shown"]
    assert [one["body"]["device"] for one in found] == [one.device_id for one in listed.shown_to]
    assert verified(listed).call.hosts == ()
    approver.answer_approval(approval, approve=False)
    list(events)
    assert len(owner.get_approval(approval_id).shown_to) == 2
