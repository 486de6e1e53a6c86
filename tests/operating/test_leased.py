"""A call that a lease permitted: the ledger, the explanation and a replay say the same of it."""

from collections.abc import Iterator
from typing import Any

import pytest

from stockade.client import Client
from stockade.v1 import policy_pb2
from tests.approvals.leasing import asked, give, revoke_all
from tests.attacks.editing import edit
from tests.operating.test_explain import ASKED, PERMITTED, actions, explained
from tests.promises.acting import policy, receipts, run
from tests.running import RunningDaemon

COMMAND: Any = {"command": "true"}
NO_LEASES = '@id("no-leases") forbid (principal, action == Action::"grant_lease", resource);'


@pytest.fixture(autouse=True)
def no_lease_is_left(owner: Client) -> Iterator[None]:
    """Each test begins without leases."""
    yield
    revoke_all(owner)


def leased(owner: Client) -> str:
    """A call that runs by a lease; its id."""
    return run(owner, "run_shell", **COMMAND)[0].call_id


def step(owner: Client, call_id: str, *, recorded: bool) -> tuple[str, str] | None:
    """How a replay of today's policies decides it, if otherwise than then."""
    source = policy_pb2.PolicySource(version=owner.status().policy_digest)
    request = policy_pb2.ReplayPolicyRequest(candidate=source, recorded=recorded)
    for event in owner.replay_policy(request):
        if event.HasField("change") and event.change.call_id == call_id:
            return event.change.before.ruling, event.change.after.ruling
    return None


def test_explain_says_of_a_lease_what_the_ledger_says(owner: Client, approver: Client) -> None:
    """Every question of the receipt, with its context and the permit's text, and no excuse."""
    other = give(owner, approver, "run_shell", seconds=60, command="echo another")
    terms = give(owner, approver, "run_shell", seconds=120, **COMMAND)
    call_id = leased(owner)
    answer = explained(owner, call_id)
    [ruling] = answer.rulings
    [recorded] = [
        one["body"] for one in receipts(owner, call_id) if one["kind"] == "call.permitted"
    ]
    assert [one["lease"] for one in recorded["heard"]["leases"]] == [
        other.lease_id,
        terms.lease_id,
    ]
    assert (ruling.verdict, ruling.reason) == (PERMITTED, "LEASED")
    assert not ruling.notes
    assert actions(ruling) == [one["action"] for one in recorded["questions"]]
    assert all(question.context for question in ruling.questions)
    [permit] = [text for one in ruling.questions for text in one.texts if terms.lease_id in text]
    assert "call_unattended" in permit
    # It stands: today the same call would be decided in the same way.
    assert answer.today.reason == "LEASED"
    assert not answer.differences
    owner.revoke_lease(terms.lease_id)
    answer = explained(owner, call_id)
    assert not answer.rulings[0].notes
    assert answer.rulings[0].reason == "LEASED"
    assert answer.today.verdict == ASKED
    assert answer.differences


def test_a_call_that_no_lease_covered_is_explained_with_the_leases_it_had(
    owner: Client, approver: Client
) -> None:
    """Put to policy and found too narrow: that is part of why a person was asked."""
    give(owner, approver, "run_shell", **COMMAND)
    assert asked(owner, "run_shell", command="false")
    call_id = owner.list_calls(page_size=1).calls[0].call_id
    ruling = explained(owner, call_id).rulings[0]
    assert ruling.verdict == ASKED
    assert not ruling.notes
    assert actions(ruling).count("call_unattended") == 2


def test_a_replay_puts_the_lease_to_the_other_policies(owner: Client, approver: Client) -> None:
    """By the policies that decided it is the same; a tied lease ends with them, another does not;
    and a set under which nobody may give one asks.
    """
    give(owner, approver, "run_shell", **COMMAND)
    tied = leased(owner)
    owner.revoke_lease(owner.list_leases()[0].lease_id)
    give(owner, approver, "run_shell", tied=False, **COMMAND)
    loose = leased(owner)
    for recorded in (True, False):
        assert step(owner, tied, recorded=recorded) is None
        assert step(owner, loose, recorded=recorded) is None
    with policy(owner, '@id("of-no-matter") permit (principal == Device::"x", action, resource);'):
        assert step(owner, tied, recorded=True) == ("unattended", "asked")
        assert step(owner, loose, recorded=True) is None
    with policy(owner, NO_LEASES):
        assert step(owner, loose, recorded=True) == ("unattended", "asked")


def test_a_supposed_call_has_the_leases_that_stand(owner: Client, approver: Client) -> None:
    """What would be if it were called now is what would be."""
    give(owner, approver, "run_shell", **COMMAND)
    for command, reason in (("true", "LEASED"), ("false", "APPROVAL_REQUIRED")):
        supposed = policy_pb2.SupposedCall(
            by=policy_pb2.Somebody(name=owner.who_am_i().principal),
            tool="run_shell",
            arguments=f'{{"command":"{command}"}}'.encode(),
        )
        answer = owner.explain_policy(policy_pb2.ExplainPolicyRequest(call=supposed))
        assert [one.reason for one in answer.rulings] == [reason]


def test_terms_that_were_edited_explain_nothing(
    shared_daemon: RunningDaemon, owner: Client, approver: Client
) -> None:
    """What the database has of a lease counts if the receipt has its digest; else it says so."""
    terms = give(owner, approver, "run_shell", **COMMAND)
    call_id = leased(owner)
    wider = terms.encode().replace(b'"command":"true"', b'"command":"fals"')
    edit(shared_daemon, "UPDATE leases SET terms = ? WHERE lease_id = ?", wider, terms.lease_id)
    [ruling] = explained(owner, call_id).rulings
    assert list(ruling.notes)
    assert ruling.reason == "LEASED"
