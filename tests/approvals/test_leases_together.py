"""Leases where policy wants several people: each signs the same terms, and only then it stands."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from ledger.account import account, as_text
from ledger.documents import granters_signed
from ledger.evidence import verify_evidence
from ledger.keys import parse_public
from ledger.receipt import Receipt
from stockade.approving import offered, sign_answer, sign_lease
from stockade.client import Client
from stockade.errors import BadRequest, Conflict, NotPermitted
from stockade.home import Home
from stockade.lease import LeaseTerms
from stockade.v1 import approval_pb2, call_pb2, policy_pb2
from tests.approvals.leasing import asked, revoke_all, terms_for
from tests.approvals.test_leases_edited import GENEROUS
from tests.approvals.test_people import belong
from tests.attacks.editing import edit
from tests.promises.acting import Waiting, apply, ask, connect, receipts, until
from tests.running import RunningDaemon

TRUE: Any = {"command": "true"}
PENDING = approval_pb2.APPROVAL_STATE_PENDING


def people(count: int) -> str:
    """That many different people have to say yes."""
    rule = '@id("several") forbid (principal, action == Action::"call_attended", resource)'
    return f"{rule} when {{ context.people_count < {count} }};"


@pytest.fixture(scope="module")
def second_home(shared_daemon: RunningDaemon) -> Home:
    return shared_daemon.pair_device("second", "approvers")


@pytest.fixture(scope="module")
def third_home(shared_daemon: RunningDaemon) -> Home:
    return shared_daemon.pair_device("third", "approvers")


@pytest.fixture(scope="module")
def second(second_home: Home) -> Iterator[Client]:
    with Client.open(second_home) as client:
        yield client


@pytest.fixture(scope="module")
def third(third_home: Home) -> Iterator[Client]:
    with Client.open(third_home) as client:
        yield client


@pytest.fixture(autouse=True)
def two_people(request: pytest.FixtureRequest) -> Iterator[None]:
    """Two people are needed, unless a test says otherwise; no lease is left behind."""
    if "shared_daemon" not in request.fixturenames:
        yield
        return
    with request.getfixturevalue("shared_daemon").client() as owner:
        apply(owner, people(2))
        yield
        revoke_all(owner)


def sign(client: Client, waiting: Waiting, terms: LeaseTerms | None = None) -> None:
    """A yes; with terms, also to that lease."""
    client.answer_approval(waiting.approval, approve=True, lease=terms)


def standing(client: Client) -> list[str]:
    return [one.lease_id for one in client.list_leases()]


def test_it_stands_when_enough_have_signed_the_same_terms(
    owner: Client, approver: Client, second: Client
) -> None:
    """The first signature is an offer that permits nothing; with the second, list, receipt and the
    offline verifier have both.
    """
    waiting = ask(owner, "run_shell", **TRUE)
    sign(approver, waiting, terms_for(waiting))
    assert standing(owner) == []
    assert asked(owner, "run_shell", **TRUE)
    seen = second.get_approval(waiting.approval.approval_id)
    assert [(one.device_name, one.leased) for one in seen.answers] == [("approver", True)]
    terms = offered(seen)
    assert terms.encode() == seen.lease_terms
    sign(second, waiting, terms)
    assert waiting.end().state == call_pb2.CALL_STATE_SUCCEEDED
    assert not asked(owner, "run_shell", **TRUE)
    [lease] = owner.list_leases()
    assert (lease.lease_id, lease.terms) == (terms.lease_id, terms.encode())
    assert (lease.signer_name, [one.device_name for one in lease.cosigners]) == (
        "second",
        ["approver"],
    )
    found = evidence(owner, terms)
    assert [one.kind for one in found if "lease" in one.body][:2] == [
        "lease.offered",
        "lease.created",
    ]
    created: Any = next(one.body for one in found if one.kind == "lease.created")
    assert [one["approver"] for one in created["cosigners"]] == [
        f"device/{approver.credentials.device_id}"
    ]


def evidence(owner: Client, terms: LeaseTerms) -> tuple[Receipt, ...]:
    """What an auditor has of it, verified offline; both signatures are found to be right."""
    lines = b"".join(one.data for one in owner.export_evidence(lease_id=terms.lease_id))
    keys = parse_public(json.loads(lines.splitlines()[0])["keys"].encode())
    found = verify_evidence(lines.splitlines(keepends=True), keys)
    assert "by the keys of the 2 certificates below, each over the same lease" in as_text(
        account(found)
    )
    created: Any = next(one for one in found.receipts if one.kind == "lease.created")
    text = terms.encode().decode()
    assert granters_signed(created.body, text) == (True, True)
    [other] = created.body["cosigners"]
    nobody = {**other, "signature": created.body["signature"]}
    assert granters_signed({**created.body, "cosigners": [nobody]}, text) == (True, False)
    twice = {name: created.body[name] for name in other}
    assert granters_signed({**created.body, "cosigners": [twice]}, text) == (True, False)
    renamed = {**twice, "approver": other["approver"]}
    assert granters_signed({**created.body, "cosigners": [renamed]}, text) == (True, False)
    assert granters_signed(created.body, text.replace('"uses":5', '"uses":6')) == (False, False)
    return found.receipts


def test_a_yes_once_is_no_signature(
    owner: Client, approver: Client, second: Client, third: Client
) -> None:
    """It counts for the call alone: the lease that another has signed does not stand by it, and
    of three people who have to sign, one who says yes once is not one.
    """
    waiting = ask(owner, "run_shell", **TRUE)
    sign(approver, waiting, terms_for(waiting))
    sign(second, waiting)
    assert waiting.end().state == call_pb2.CALL_STATE_SUCCEEDED
    assert standing(owner) == []
    apply(owner, people(3))
    waiting = ask(owner, "run_shell", **TRUE)
    terms = terms_for(waiting)
    sign(approver, waiting, terms)
    sign(second, waiting)
    with pytest.raises(Conflict) as caught:
        sign(third, waiting, terms)
    assert caught.value.reason == "LEASE_USELESS"
    assert owner.get_approval(waiting.approval.approval_id).state == PENDING
    sign(third, waiting)
    assert waiting.end().state == call_pb2.CALL_STATE_SUCCEEDED
    assert standing(owner) == []
    assert asked(owner, "run_shell", **TRUE)


def test_other_terms_are_another_lease(owner: Client, approver: Client, second: Client) -> None:
    """One use or a minute more, another id or nonce: refused, and the call still waits for the
    same, or for a yes once.
    """
    waiting = ask(owner, "run_shell", **TRUE)
    terms = terms_for(waiting)
    sign(approver, waiting, terms)
    for other in (
        terms_for(waiting),
        replace(terms, uses=terms.uses + 1),
        replace(terms, expires_ms=terms.expires_ms + 60_000),
        replace(terms, nonce="00" * 16),
    ):
        with pytest.raises(Conflict) as caught:
            sign(second, waiting, other)
        assert caught.value.reason == "LEASE_DIFFERS"
    again = owner.get_approval(waiting.approval.approval_id)
    assert (again.state, len(again.answers)) == (PENDING, 1)
    sign(second, waiting, terms)
    assert waiting.end().state == call_pb2.CALL_STATE_SUCCEEDED
    assert standing(owner) == [terms.lease_id]


def test_one_person_does_not_make_two(
    owner: Client, approver: Client, second: Client, third: Client
) -> None:
    """Two devices of ada's sign, and nothing stands; nor does one device sign twice."""
    belong(owner, "ada", approver, second)
    try:
        waiting = ask(owner, "run_shell", **TRUE)
        terms = terms_for(waiting)
        sign(approver, waiting, terms)
        with pytest.raises(Conflict) as caught:
            sign(approver, waiting, terms)
        assert caught.value.reason == "ALREADY_ANSWERED"
        sign(second, waiting, terms)
        assert owner.get_approval(waiting.approval.approval_id).state == PENDING
        assert standing(owner) == []
        sign(third, waiting, terms)
        assert waiting.end().state == call_pb2.CALL_STATE_SUCCEEDED
        [lease] = owner.list_leases()
        assert len(lease.cosigners) == 2
    finally:
        for one in (approver, second):
            device = one.who_am_i().device.device_id
            belong(owner, f"person of {device}", one)


def test_it_stands_as_long_as_each_may_give_it(
    owner: Client, approver: Client, second: Client
) -> None:
    """One of them may not give leases any more, or more people are needed: people are asked."""
    waiting = ask(owner, "run_shell", **TRUE)
    terms = terms_for(waiting, tied=False, uses=10)
    sign(approver, waiting, terms)
    sign(second, waiting, terms)
    waiting.end()
    assert not asked(owner, "run_shell", **TRUE)
    device = approver.credentials.device_id
    no_more = (
        f'forbid (principal == Device::"{device}", action == Action::"grant_lease", resource);'
    )
    apply(owner, people(2) + no_more)
    assert asked(owner, "run_shell", **TRUE)
    apply(owner, people(3))
    assert asked(owner, "run_shell", **TRUE)
    apply(owner, people(2))
    assert not asked(owner, "run_shell", **TRUE)


def test_a_no_ends_it_and_who_may_not_lease_signs_none(
    owner: Client, approver: Client, second: Client
) -> None:
    """An offer ends with its approval; a second who may not give so wide a lease is refused."""
    device = second.credentials.device_id
    narrow = f'forbid (principal == Device::"{device}", action == Action::"grant_lease", resource)'
    apply(owner, people(2) + narrow + " when { context.lease.uses > 4 };")
    waiting = ask(owner, "run_shell", **TRUE)
    terms = terms_for(waiting)
    sign(approver, waiting, terms)
    with pytest.raises(NotPermitted) as caught:
        sign(second, waiting, terms)
    assert caught.value.reason == "MAY_NOT_LEASE"
    second.answer_approval(waiting.approval, approve=False)
    assert waiting.end().state == call_pb2.CALL_STATE_REJECTED
    assert standing(owner) == []
    with pytest.raises(BadRequest) as other:
        offered(ask_and_leave(owner))
    assert other.value.reason == "NO_LEASE_OFFERED"


def ask_and_leave(owner: Client) -> approval_pb2.Approval:
    waiting = ask(owner, "run_shell", **TRUE)
    owner.cancel_call(waiting.call_id)
    return waiting.approval


def test_the_callers_signature_filed_by_hand_counts_for_nothing(
    shared_daemon: RunningDaemon, owner: Client, approver: Client
) -> None:
    """Rightly signed, in the database, under a policy that would let the caller give leases."""
    apply(owner, people(2) + GENEROUS, default=False)
    waiting = ask(owner, "run_shell", **TRUE)
    terms, key = terms_for(waiting), owner.credentials.key
    edit(
        shared_daemon,
        "INSERT INTO approval_answers (approval_id, device_id, answer, signature, certificate,"
        " reason, time_ms, lease_terms, lease_signature) VALUES (?, ?, 'approve', ?, ?, '', ?, ?,"
        " ?)",
        waiting.approval.approval_id,
        owner.credentials.device_id,
        sign_answer(key, waiting.approval.statement, True, ""),
        owner.credentials.certificate,
        int(time.time() * 1000),
        terms.encode(),
        sign_lease(key, terms.encode()),
    )
    sign(approver, waiting, terms)
    assert owner.get_approval(waiting.approval.approval_id).state == PENDING
    assert standing(owner) == []
    owner.cancel_call(waiting.call_id)


def test_an_offer_edited_by_hand_is_none(
    shared_daemon: RunningDaemon, owner: Client, approver: Client, second: Client
) -> None:
    """The first signed for five uses; somebody makes it five hundred, and the second signs that."""
    waiting = ask(owner, "run_shell", **TRUE)
    terms = terms_for(waiting)
    sign(approver, waiting, terms)
    wide = replace(terms, uses=500)
    edit(
        shared_daemon,
        "UPDATE approval_answers SET lease_terms = ? WHERE approval_id = ?",
        wide.encode(),
        waiting.approval.approval_id,
    )
    with pytest.raises(Conflict) as caught:
        sign(second, waiting, wide)
    assert caught.value.reason == "LEASE_USELESS"
    assert standing(owner) == []
    owner.cancel_call(waiting.call_id)


def test_a_revoked_signer_takes_it_along(
    shared_daemon: RunningDaemon, owner: Client, approver: Client
) -> None:
    """Whichever of them: what one person signed alone is not what two had to."""
    home = shared_daemon.pair_device("leaving", "approvers")
    for first in (True, False):
        if not first:
            home = shared_daemon.pair_device("leaving too", "approvers")
        with Client.open(home) as leaving:
            waiting = ask(owner, "run_shell", **TRUE)
            terms = terms_for(waiting)
            for one in (leaving, approver) if first else (approver, leaving):
                sign(one, waiting, terms)
            waiting.end()
            assert not asked(owner, "run_shell", **TRUE)
            owner.revoke_device(leaving.credentials.device_id)
        assert asked(owner, "run_shell", **TRUE)
        assert until(lambda: not standing(owner))


def test_offer_and_lease_survive_a_kill_and_an_edited_one_does_not(daemon: RunningDaemon) -> None:
    """The second signs after the daemon was killed; after another kill the lease stands; with a
    signature taken away, or another person's put in its place, it is void.
    """
    homes = [daemon.pair_device(name, "approvers") for name in ("one", "two")]
    with daemon.client() as owner, connect(homes[0], daemon) as one:
        apply(owner, people(2))
        waiting = ask(owner, "run_shell", detach=True, **TRUE)
        terms = terms_for(waiting)
        sign(one, waiting, terms)
    daemon.restart(9)
    with daemon.client() as owner, connect(homes[1], daemon) as two:
        sign(two, waiting, offered(two.get_approval(waiting.approval.approval_id)))
        assert until(lambda: standing(owner) == [terms.lease_id])
    daemon.restart(9)
    with daemon.client() as owner:
        assert not asked(owner, "run_shell", **TRUE)
    daemon.stop()
    edit(daemon, "UPDATE leases SET cosigned = replace(CAST(cosigned AS TEXT), '30', '31')")
    daemon.start()
    with daemon.client() as owner:
        assert asked(owner, "run_shell", **TRUE)
        [ended] = owner.list_leases(ended=True)
        assert (ended.state, ended.reason) == ("void", "LEASE_DAMAGED")


def test_what_explains_a_call_knows_all_who_signed(
    owner: Client, approver: Client, second: Client
) -> None:
    """The receipt of a call that ran by it names them, and explanation asks about all again."""
    waiting = ask(owner, "run_shell", **TRUE)
    terms = terms_for(waiting)
    sign(approver, waiting, terms)
    sign(second, waiting, terms)
    waiting.end()
    events = list(owner.call("run_shell", TRUE))
    call_id = events[0].call_id
    [permitted] = [r for r in receipts(owner, call_id) if r["kind"] == "call.permitted"]
    [heard] = permitted["body"]["heard"]["leases"]
    assert {heard["signer"], *heard["cosigners"]} == {
        approver.credentials.device_id,
        second.credentials.device_id,
    }
    told = owner.explain_policy(policy_pb2.ExplainPolicyRequest(call_id=call_id))
    last = told.rulings[-1]
    assert not last.notes, last.notes
    attended = [one for one in last.questions if one.action == "call_attended"]
    assert json.loads(attended[-1].context)["people_count"] == 2
