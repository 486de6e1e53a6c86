"""Attacks on approvals by whoever can write to the database: nothing runs by that."""

import time
from dataclasses import replace
from typing import Any

import pytest

from stockade.approving import sign_answer
from stockade.client import Client
from stockade.errors import StockadeError
from stockade.home import Home
from stockade.statement import parse_statement
from stockade.v1 import approval_pb2, call_pb2
from tests.attacks.editing import edit
from tests.promises.acting import Waiting, answer_raw, ask, kinds, policy, receipts, state
from tests.running import RunningDaemon

TWO = 'forbid (principal, action == Action::"call_attended", resource) '
TWO += "when { context.approver_count < 2 };"


def runs_nothing(daemon: RunningDaemon, approver: Client, waiting: Waiting, forged: bytes) -> None:
    """A yes to this statement, as the call's is, and then with it put in the database's place."""
    approval_id = waiting.approval.approval_id
    signature = sign_answer(approver.credentials.key, forged, True, "")
    with pytest.raises(StockadeError) as caught:
        answer_raw(approver, approval_id, signature)
    assert caught.value.reason == "BAD_SIGNATURE"
    changed = "UPDATE approvals SET statement = ? WHERE approval_id = ?"
    assert edit(daemon, changed, forged, approval_id) == 1
    answer_raw(approver, approval_id, signature)
    end = waiting.end()
    assert (end.state, end.reason) == (call_pb2.CALL_STATE_DENIED, "APPROVAL_DAMAGED")
    assert not waiting.started


def test_a_statement_edited_while_it_waits_is_not_what_runs(
    shared_daemon: RunningDaemon, approver_home: Home
) -> None:
    """The approver is shown harmless arguments that somebody wrote over the real ones: no run."""
    with shared_daemon.client() as owner, Client.open(approver_home) as approver:
        waiting = ask(owner, "run_shell", command="rm -r /workspace")
        statement = parse_statement(waiting.approval.statement)
        harmless = {"command": "true"}
        changed = edit(
            shared_daemon,
            "UPDATE approvals SET statement = ? WHERE approval_id = ?",
            replace(statement, call=replace(statement.call, arguments=harmless)).encode(),
            statement.approval_id,
        )
        assert changed == 1
        shown = approver.get_approval(statement.approval_id)
        assert parse_statement(shown.statement).call.arguments == harmless
        approver.answer_approval(shown, approve=True)
        end = waiting.end()
        assert (end.state, end.reason) == (call_pb2.CALL_STATE_DENIED, "APPROVAL_DAMAGED")
        assert not waiting.started
        assert kinds(owner, waiting.call_id)[-1] == "call.denied"


@pytest.mark.parametrize(
    "other",
    [
        {"arguments": {"command": "true "}},
        {"principal": "device/dev-aaaaaaaaaaaaaaaa"},
        {"tool": "run_python"},
        {"tool_digest": "00" * 32},
        {"tier": "gvisor"},
        {"secrets": ("secret://global/key",)},
        {"hosts": ("example.com",)},
        {"workspace": "work"},
        {"policy_digest": "00" * 32},
    ],
    ids=lambda other: next(iter(other)),
)
def test_a_yes_to_any_other_call_is_none_to_this_one(
    shared_daemon: RunningDaemon, approver_home: Home, other: dict[str, Any]
) -> None:
    """One byte of arguments, caller, tool, tier, secret, host, workspace, policy: shown and signed
    otherwise than asked, it runs nothing; signed rightly over another statement, it is no answer.
    """
    with shared_daemon.client() as owner, Client.open(approver_home) as approver:
        waiting = ask(owner, "run_shell", command="true")
        statement = parse_statement(waiting.approval.statement)
        forged = replace(statement, call=replace(statement.call, **other)).encode()
        runs_nothing(shared_daemon, approver, waiting, forged)


@pytest.mark.parametrize("other", ["a nonce", "a minute more", "less risk", "who asks"])
def test_a_yes_to_another_statement_of_the_same_call_is_none(
    shared_daemon: RunningDaemon, approver_home: Home, other: str
) -> None:
    """The call is the same, but not its nonce, its time or what the approver is told of it."""
    with shared_daemon.client() as owner, Client.open(approver_home) as approver:
        waiting = ask(owner, "run_shell", command="true")
        said = parse_statement(waiting.approval.statement)
        forged = {
            "a nonce": replace(said, nonce="00" * (len(said.nonce) // 2)),
            "a minute more": replace(said, expires_ms=said.expires_ms + 60_000),
            "less risk": replace(said, risk_milli=0),
            "who asks": replace(said, requester_name="somebody else"),
        }[other].encode()
        assert forged != waiting.approval.statement
        runs_nothing(shared_daemon, approver, waiting, forged)


@pytest.mark.parametrize(
    ("column", "value"),
    [("expires_ms", 2**52), ("policy_digest", "00" * 32)],
)
def test_a_column_edited_while_it_waits_ends_it(
    shared_daemon: RunningDaemon, approver_home: Home, column: str, value: object
) -> None:
    """What stands beside the statement has to agree with it: longer life is no life."""
    with shared_daemon.client() as owner, Client.open(approver_home) as approver:
        waiting = ask(owner, "run_shell", command="id")
        approval_id = waiting.approval.approval_id
        edit(
            shared_daemon,
            f"UPDATE approvals SET {column} = ? WHERE approval_id = ?",  # noqa: S608 - our own
            value,
            approval_id,
        )
        approver.answer_approval(waiting.approval, approve=True)
        end = waiting.end()
        assert (end.state, end.reason) == (call_pb2.CALL_STATE_DENIED, "APPROVAL_DAMAGED")
        assert not waiting.started


def test_an_approval_made_approved_by_hand_runs_nothing(
    shared_daemon: RunningDaemon, approver_home: Home
) -> None:
    """A state is no yes: written into the database it starts nothing, and no answer counts."""
    with shared_daemon.client() as owner, Client.open(approver_home) as approver:
        waiting = ask(owner, "run_shell", command="id", detach=True)
        approval_id = waiting.approval.approval_id
        edit(
            shared_daemon,
            "UPDATE approvals SET state = 'approved' WHERE approval_id = ?",
            approval_id,
        )
        time.sleep(1)
        with pytest.raises(StockadeError) as caught:
            approver.answer_approval(waiting.approval, approve=True)
        assert caught.value.reason == "APPROVAL_NOT_PENDING"
        assert "call.running" not in kinds(owner, waiting.call_id)


def test_a_call_made_permitted_by_hand_does_not_run_after_a_restart(
    daemon: RunningDaemon,
) -> None:
    """Nor does a permit that no receipt stands for: the next start finds a call that died."""
    with daemon.client() as owner:
        waiting = ask(owner, "run_shell", command="id", detach=True)
    daemon.stop()
    edit(daemon, "UPDATE approvals SET state = 'used'")
    edit(daemon, "UPDATE calls SET state = 'permitted' WHERE call_id = ?", waiting.call_id)
    daemon.start()
    with daemon.client() as owner:
        assert state(owner, waiting.call_id)[0] == "INTERRUPTED"
        assert "call.running" not in kinds(owner, waiting.call_id)


@pytest.mark.parametrize("by", ["nobody's key", "the first approver's key"])
def test_a_yes_written_into_the_database_makes_no_quorum(
    shared_daemon: RunningDaemon, approver_home: Home, by: str
) -> None:
    """Two people are needed; the second's yes is a row that somebody wrote. It does not count."""
    second_home = shared_daemon.pair_device(f"second {len(by)}", "approvers")
    with (
        shared_daemon.client() as owner,
        Client.open(approver_home) as approver,
        Client.open(second_home) as second,
        policy(owner, TWO),
    ):
        waiting = ask(owner, "run_shell", command="id")
        statement = waiting.approval.statement
        signature = b"yes"
        certificate = second.credentials.certificate
        if by != "nobody's key":
            signature = sign_answer(approver.credentials.key, statement, True, "")
        edit(
            shared_daemon,
            "INSERT INTO approval_answers (approval_id, device_id, answer, signature, certificate,"
            " reason, time_ms) VALUES (?, ?, 'approve', ?, ?, '', ?)",
            waiting.approval.approval_id,
            second.credentials.device_id,
            signature,
            certificate,
            int(time.time() * 1000),
        )
        approver.answer_approval(waiting.approval, approve=True)
        still = owner.get_approval(waiting.approval.approval_id)
        assert still.state == approval_pb2.APPROVAL_STATE_PENDING
        assert "call.permitted" not in kinds(owner, waiting.call_id)
        owner.cancel_call(waiting.call_id)


@pytest.mark.parametrize("who", ["the caller", "another caller"])
def test_a_yes_of_a_device_that_may_not_approve_makes_no_quorum(
    shared_daemon: RunningDaemon, approver_home: Home, who: str
) -> None:
    """Signed rightly by its own key, over this statement, and filed by hand: policy never let it be
    given, so it does not count. An approver's that came in the right way does.
    """
    other_home = shared_daemon.pair_device(f"of {who}", "callers")
    second_home = shared_daemon.pair_device(f"with {who}", "approvers")
    with (
        shared_daemon.client() as owner,
        Client.open(approver_home) as approver,
        Client.open(second_home) as second,
        Client.open(other_home) as other,
        policy(owner, TWO),
    ):
        waiting = ask(owner, "run_shell", command="id")
        signer = owner if who == "the caller" else other
        edit(
            shared_daemon,
            "INSERT INTO approval_answers (approval_id, device_id, answer, signature, certificate,"
            " reason, time_ms) VALUES (?, ?, 'approve', ?, ?, '', ?)",
            waiting.approval.approval_id,
            signer.credentials.device_id,
            sign_answer(signer.credentials.key, waiting.approval.statement, True, ""),
            signer.credentials.certificate,
            int(time.time() * 1000),
        )
        approver.answer_approval(waiting.approval, approve=True)
        still = owner.get_approval(waiting.approval.approval_id)
        assert still.state == approval_pb2.APPROVAL_STATE_PENDING
        second.answer_approval(waiting.approval, approve=True)
        assert waiting.end().state == call_pb2.CALL_STATE_SUCCEEDED
        [permitted] = [r for r in receipts(owner, waiting.call_id) if r["kind"] == "call.permitted"]
        heard = {approver.credentials.device_id, second.credentials.device_id}
        assert set(permitted["body"]["heard"]["approvers"]) == heard


def test_one_approvers_yes_under_anothers_name_makes_no_quorum(
    shared_daemon: RunningDaemon, approver_home: Home
) -> None:
    """A row with a good signature and its own certificate, filed under another device."""
    second_home = shared_daemon.pair_device("third", "approvers")
    with (
        shared_daemon.client() as owner,
        Client.open(approver_home) as approver,
        Client.open(second_home) as second,
        policy(owner, TWO),
    ):
        waiting = ask(owner, "run_shell", command="id")
        approver.answer_approval(waiting.approval, approve=True)
        edit(
            shared_daemon,
            "INSERT INTO approval_answers (approval_id, device_id, answer, signature, certificate,"
            " reason, time_ms) SELECT approval_id, 'dev-aaaaaaaaaaaaaaaa', answer,"
            " signature, certificate, reason, time_ms FROM approval_answers WHERE approval_id = ?",
            waiting.approval.approval_id,
        )
        second.answer_approval(waiting.approval, approve=True)
        assert waiting.end().state == call_pb2.CALL_STATE_SUCCEEDED
        [permitted] = [r for r in receipts(owner, waiting.call_id) if r["kind"] == "call.permitted"]
        assert len(permitted["body"]["heard"]["approvers"]) == 2
