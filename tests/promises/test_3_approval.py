"""Promise 3: what was approved is what runs. The answer: whose it is, to what, and once."""

import json
import threading
from collections.abc import Callable

import pytest

from stockade.approving import sign_answer
from stockade.client import Client
from stockade.credentials import make_key
from stockade.errors import BadRequest, Conflict, NotPermitted, StockadeError
from stockade.home import Home
from stockade.v1 import approval_pb2, call_pb2
from tests.promises.acting import Waiting, answer_raw, ask, kinds, policy, receipts
from tests.running import RunningDaemon, output

ASKED = ["call.received", "approval.asked", "call.pending_approval", "approval.shown"]


def sign(client: Client, waiting: Waiting, *, approve: bool = True, reason: str = "") -> bytes:
    return sign_answer(client.credentials.key, waiting.approval.statement, approve, reason)


def still_pending(client: Client, waiting: Waiting) -> bool:
    approval = client.get_approval(waiting.approval.approval_id)
    return approval.state == approval_pb2.APPROVAL_STATE_PENDING and not approval.answers


def test_a_yes_runs_exactly_what_was_shown(owner: Client, approver: Client) -> None:
    """After a good yes the call runs, once, and every step is in the ledger in order."""
    waiting = ask(owner, "run_shell", command="echo shown")
    answered = approver.answer_approval(waiting.approval, approve=True, reason="looks right")
    end = waiting.end()
    assert end.state == call_pb2.CALL_STATE_SUCCEEDED
    assert output(waiting.rest) == b"shown\n"
    assert answered.approval.state == approval_pb2.APPROVAL_STATE_USED
    assert answered.receipt.kind == "approval.answered"
    assert kinds(owner, waiting.call_id) == [
        *ASKED,
        "approval.answered",
        "call.permitted",
        "call.running",
        "call.succeeded",
    ]


def test_one_digest_from_the_question_to_the_permit(owner: Client, approver: Client) -> None:
    """The call's digest is the same where it was asked about and where it was permitted."""
    waiting = ask(owner, "run_shell", command="true")
    approver.answer_approval(waiting.approval, approve=True)
    waiting.end()
    bodies = {str(r["kind"]): r["body"] for r in receipts(owner, waiting.call_id)}
    asked = bodies["approval.asked"]
    assert asked["call_digest"] == bodies["call.pending_approval"]["call_digest"]
    assert asked["call_digest"] == bodies["call.permitted"]["call_digest"]
    assert asked["statement_digest"] == bodies["approval.answered"]["statement_digest"]


Forgery = Callable[[Client, Client, Waiting], bytes]


def tampered(approver: Client, _: Client, waiting: Waiting) -> bytes:
    good = sign(approver, waiting)
    return good[:-1] + bytes([good[-1] ^ 1])


FORGERIES: dict[str, Forgery] = {
    "tampered": tampered,
    "empty": lambda *_: b"",
    "not a signature": lambda *_: b"yes",
    "another device's key": lambda _, owner, waiting: sign(owner, waiting),
    "a new key": lambda _, __, waiting: sign_answer(
        make_key(), waiting.approval.statement, True, ""
    ),
    "a rejection's": lambda approver, _, waiting: sign(approver, waiting, approve=False),
    "for another reason": lambda approver, _, waiting: sign(approver, waiting, reason="fine"),
    "over other bytes": lambda approver, _, waiting: sign_answer(
        approver.credentials.key, waiting.approval.statement + b" ", True, ""
    ),
}


@pytest.fixture(scope="module")
def pending(owner: Client) -> Waiting:
    """One call that waits; what is tried on it leaves it waiting."""
    return ask(owner, "run_shell", command="id")


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_signature_is_refused(
    owner: Client, approver: Client, pending: Waiting, forgery: str
) -> None:
    """Only this device's key, over this statement, this answer and this reason, counts."""
    signature = FORGERIES[forgery](approver, owner, pending)
    with pytest.raises(BadRequest) as caught:
        answer_raw(approver, pending.approval.approval_id, signature)
    assert caught.value.reason == "BAD_SIGNATURE"
    assert still_pending(owner, pending)


def test_an_approval_is_no_rejection(owner: Client, approver: Client, pending: Waiting) -> None:
    """A signed yes cannot be turned into a no either."""
    with pytest.raises(BadRequest) as caught:
        answer_raw(approver, pending.approval.approval_id, sign(approver, pending), approve=False)
    assert caught.value.reason == "BAD_SIGNATURE"
    assert still_pending(owner, pending)


def test_a_signature_for_one_call_is_none_for_its_twin(owner: Client, approver: Client) -> None:
    """Two calls alike in everything have two statements: a yes to one is none to the other."""
    first, second = (ask(owner, "run_shell", command="id") for _ in range(2))
    with pytest.raises(BadRequest) as caught:
        answer_raw(approver, second.approval.approval_id, sign(approver, first))
    assert caught.value.reason == "BAD_SIGNATURE"
    for waiting in (first, second):
        assert still_pending(owner, waiting)
        owner.cancel_call(waiting.call_id)


def test_the_requester_cannot_approve_its_own_call(owner: Client, pending: Waiting) -> None:
    """An owner may approve others' calls and change policy; its own word never counts."""
    with pytest.raises(NotPermitted) as caught:
        owner.answer_approval(pending.approval, approve=True)
    assert caught.value.reason == "SELF_APPROVAL"
    text = 'permit (principal, action == Action::"approve", resource);'
    with policy(owner, text), pytest.raises(NotPermitted):
        owner.answer_approval(pending.approval, approve=True)
    assert still_pending(owner, pending)


def test_a_device_that_is_no_approver_cannot_answer(
    shared_daemon: RunningDaemon, owner: Client, pending: Waiting
) -> None:
    """Any valid key is not enough: policy says whose yes counts. A no does not count either."""
    with Client.open(shared_daemon.pair_device("auditor", "auditors")) as auditor:
        for approve in (True, False):
            with pytest.raises(NotPermitted) as caught:
                auditor.answer_approval(pending.approval, approve=approve)
            assert caught.value.reason == "MAY_NOT_APPROVE"
    assert still_pending(owner, pending)


def test_who_may_not_see_approvals_learns_nothing_of_their_ids(
    owner: Client, caller: Client, pending: Waiting
) -> None:
    """An id that is another's gives the answer of one that does not exist, and leaves a receipt."""
    answers = []
    for approval_id in (pending.approval.approval_id, pending.call_id, "guessed", ""):
        for signature in (sign(caller, pending), b"none"):
            with pytest.raises(StockadeError) as caught:
                answer_raw(caller, approval_id, signature)
            answers.append((caught.value.reason, caught.value.message, caught.value.fix))
    assert len(set(answers)) == 1
    assert answers[0][0] == "UNKNOWN_APPROVAL"
    [latest, *_] = owner.read_ledger(page_size=1).receipts
    refusal = json.loads(latest.canonical)
    assert (refusal["kind"], refusal["body"]["reason"]) == ("rpc.refused", "UNKNOWN_APPROVAL")
    for method in (caller.list_approvals, lambda: list(caller.watch_approvals())):
        with pytest.raises(NotPermitted):
            method()
    seen = []
    for approval_id in (pending.approval.approval_id, "guessed"):
        with pytest.raises(NotPermitted) as refused:
            caller.get_approval(approval_id)
        seen.append((refused.value.reason, refused.value.message))
    assert len(set(seen)) == 1
    assert still_pending(owner, pending)


def test_a_revoked_approver_cannot_answer(
    shared_daemon: RunningDaemon, owner: Client, pending: Waiting
) -> None:
    """A key that was an approver's until a moment ago is nobody's now."""
    with Client.open(shared_daemon.pair_device("leaver", "approvers")) as leaver:
        approval = leaver.get_approval(pending.approval.approval_id)
        owner.revoke_device(leaver.credentials.device_id)
        with pytest.raises(StockadeError) as caught:
            leaver.answer_approval(approval, approve=True)
        assert caught.value.reason in ("DEVICE_REVOKED", "CERT_UNKNOWN")
    assert still_pending(owner, pending)


def test_a_used_approval_cannot_be_used_again(owner: Client, approver: Client) -> None:
    """The same answer, replayed byte for byte, is refused; the tool does not run again."""
    waiting = ask(owner, "run_shell", command="echo once >> replay.txt", workspace="work")
    signature = sign(approver, waiting)
    answer_raw(approver, waiting.approval.approval_id, signature)
    assert waiting.end().state == call_pb2.CALL_STATE_SUCCEEDED
    with pytest.raises(Conflict) as caught:
        answer_raw(approver, waiting.approval.approval_id, signature)
    assert caught.value.reason == "APPROVAL_NOT_PENDING"
    again = list(owner.call("read_file", {"workspace": "work", "path": "replay.txt"}))
    assert output(again) == b"once\n"


def test_an_approval_covers_one_call_only(owner: Client, approver: Client) -> None:
    """The very same call asked a second time is asked about again: a yes is no standing grant."""
    first = ask(owner, "run_shell", command="true")
    approver.answer_approval(first.approval, approve=True)
    assert first.end().state == call_pb2.CALL_STATE_SUCCEEDED
    second = ask(owner, "run_shell", command="true")
    assert second.approval.approval_id != first.approval.approval_id
    owner.cancel_call(second.call_id)


def test_a_no_rejects_with_its_reason(owner: Client, approver: Client) -> None:
    """A human's no is `rejected`, says who and why, and nothing runs."""
    waiting = ask(owner, "run_shell", command="rm -rf /")
    approver.answer_approval(waiting.approval, approve=False, reason="not on my watch")
    end = waiting.end()
    assert (end.state, end.reason) == (call_pb2.CALL_STATE_REJECTED, "REJECTED")
    assert "approver" in end.message
    assert "not on my watch" in end.message
    assert not waiting.started
    answered = receipts(owner, waiting.call_id)[4]["body"]
    assert (answered["answer"], answered["reason"]) == ("reject", "not on my watch")
    assert kinds(owner, waiting.call_id) == [*ASKED, "approval.answered", "call.rejected"]


def test_a_rejected_call_cannot_be_approved_after_all(owner: Client, approver: Client) -> None:
    """The first answer that settles it is the last."""
    waiting = ask(owner, "run_shell", command="id")
    approver.answer_approval(waiting.approval, approve=False)
    with pytest.raises(Conflict) as caught:
        approver.answer_approval(waiting.approval, approve=True)
    assert caught.value.reason == "APPROVAL_NOT_PENDING"
    assert waiting.end().state == call_pb2.CALL_STATE_REJECTED


def test_cancelling_withdraws_the_question(owner: Client, approver: Client) -> None:
    """A call that its caller cancelled no longer waits, and a late yes runs nothing."""
    waiting = ask(owner, "run_shell", command="id")
    owner.cancel_call(waiting.call_id)
    assert waiting.end().state == call_pb2.CALL_STATE_CANCELLED
    gone = owner.get_approval(waiting.approval.approval_id)
    assert gone.state == approval_pb2.APPROVAL_STATE_WITHDRAWN
    with pytest.raises(Conflict) as caught:
        approver.answer_approval(waiting.approval, approve=True)
    assert caught.value.reason == "APPROVAL_NOT_PENDING"
    assert kinds(owner, waiting.call_id) == [*ASKED, "call.cancelled"]


def test_two_answers_at_once_have_one_outcome(
    shared_daemon: RunningDaemon, owner: Client, approver_home: Home
) -> None:
    """A yes and a no that race: exactly one settles the call, the other is told so."""
    other = shared_daemon.pair_device("second", "approvers")
    for turn in range(6):
        waiting = ask(owner, "run_shell", command="true")
        barrier, told = threading.Barrier(2), list[str]()

        def say(
            home: Home,
            approve: bool,
            waiting: Waiting = waiting,
            barrier: threading.Barrier = barrier,
            told: list[str] = told,
        ) -> None:
            with Client.open(home) as client:
                client.who_am_i()
                barrier.wait()
                try:
                    client.answer_approval(waiting.approval, approve=approve)
                    told.append("approve" if approve else "reject")
                except Conflict as conflict:
                    told.append(conflict.reason)

        homes = [approver_home, other] if turn % 2 else [other, approver_home]
        threads = [
            threading.Thread(target=say, args=(home, approve))
            for home, approve in zip(homes, (True, False), strict=True)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        end = waiting.end()
        told.remove("APPROVAL_NOT_PENDING")
        expected = {
            "approve": call_pb2.CALL_STATE_SUCCEEDED,
            "reject": call_pb2.CALL_STATE_REJECTED,
        }
        assert expected[told[0]] == end.state
        assert waiting.started == (told == ["approve"])
        assert kinds(owner, waiting.call_id).count("approval.answered") == 1
