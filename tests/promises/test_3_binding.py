"""Promise 3: what was approved is what runs. The call: a change between question and yes voids it.

And the yes can be verified by anybody, offline, from the exported ledger alone.
"""

import hashlib
import json
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from stockade.client import Client
from stockade.errors import Conflict
from stockade.statement import parse_statement
from stockade.v1 import approval_pb2, call_pb2
from tests.conftest import config_with
from tests.promises.acting import (
    add_tool,
    apply,
    ask,
    connect,
    entries,
    export,
    kinds,
    policy,
    python_tool,
    receipts,
    state,
)
from tests.running import RunningDaemon, running

# What `add_tool` makes is permitted unattended; this makes it wait.
ASK = 'forbid (principal, action == Action::"call_unattended", resource);'
TEXT = '[input.properties.text]\ntype = "string"\n'


def void(owner: Client, approver: Client, waiting_id: str) -> None:
    """The approval is withdrawn and the call denied as void, whatever was said."""
    gone = owner.get_approval(waiting_id)
    assert gone.state == approval_pb2.APPROVAL_STATE_WITHDRAWN
    with pytest.raises(Conflict):
        approver.answer_approval(gone, approve=True)


def test_a_tool_replaced_voids_the_approval(owner: Client, approver: Client) -> None:
    """The tool's files change between the question and the yes: the yes was for other code."""
    with policy(owner, ASK):
        add_tool(owner, "swapped", ["/bin/echo", "first"])
        waiting = ask(owner, "swapped")
        add_tool(owner, "swapped", ["/bin/echo", "second"])
        approver.answer_approval(waiting.approval, approve=True)
        end = waiting.end()
        assert (end.state, end.reason) == (call_pb2.CALL_STATE_DENIED, "APPROVAL_VOID")
        assert not waiting.started
        void(owner, approver, waiting.approval.approval_id)


def test_a_tools_file_replaced_voids_the_approval(owner: Client, approver: Client) -> None:
    """One byte of the script that the manifest starts, and nothing of the manifest, is other."""
    with policy(owner, ASK):
        first = python_tool(owner, "patched", "print(1)\n")
        waiting = ask(owner, "patched")
        second = python_tool(owner, "patched", "print(2)\n")
        assert first.digest != second.digest
        approver.answer_approval(waiting.approval, approve=True)
        end = waiting.end()
        assert (end.state, end.reason) == (call_pb2.CALL_STATE_DENIED, "APPROVAL_VOID")
        assert not waiting.started
        void(owner, approver, waiting.approval.approval_id)


@pytest.mark.parametrize("approve", [True, False])
def test_a_tool_with_another_contract_voids_the_approval(
    owner: Client, approver: Client, approve: bool
) -> None:
    """The replaced tool does not even take these arguments: nothing runs, and it is said why."""
    with policy(owner, ASK):
        add_tool(owner, "reshaped", ["/bin/echo", "hi"], rest=TEXT)
        waiting = ask(owner, "reshaped", text="hello")
        add_tool(owner, "reshaped", ["/bin/echo"])
        approver.answer_approval(waiting.approval, approve=approve)
        end = waiting.end()
        assert not waiting.started
    assert (end.state, end.reason) == (call_pb2.CALL_STATE_DENIED, "APPROVAL_VOID")
    void(owner, approver, waiting.approval.approval_id)


@pytest.mark.parametrize("approve", [True, False])
def test_a_tool_removed_voids_the_approval(owner: Client, approver: Client, approve: bool) -> None:
    """The tool is taken away while its call waits: nothing runs, and it is said why."""
    with policy(owner, ASK):
        add_tool(owner, "removed", ["/bin/echo", "first"])
        waiting = ask(owner, "removed")
        owner.remove_tool("removed")
        approver.answer_approval(waiting.approval, approve=approve)
        end = waiting.end()
        assert not waiting.started
    assert (end.state, end.reason) == (call_pb2.CALL_STATE_DENIED, "APPROVAL_VOID")
    void(owner, approver, waiting.approval.approval_id)


def test_a_policy_changed_voids_the_approval(owner: Client, approver: Client) -> None:
    """Another policy set, even one that would permit as much: the yes was under the old one."""
    waiting = ask(owner, "run_shell", command="id")
    with policy(owner, "// a comment makes it another set"):
        approver.answer_approval(waiting.approval, approve=True)
        end = waiting.end()
    assert (end.state, end.reason) == (call_pb2.CALL_STATE_DENIED, "APPROVAL_VOID")
    assert not waiting.started
    void(owner, approver, waiting.approval.approval_id)


def test_a_policy_that_came_back_is_the_same_policy(owner: Client, approver: Client) -> None:
    """What counts is the set in force at the yes: changed and changed back, it is as shown."""
    waiting = ask(owner, "run_shell", command="true")
    with policy(owner, "// for a moment"):
        pass
    approver.answer_approval(waiting.approval, approve=True)
    assert waiting.end().state == call_pb2.CALL_STATE_SUCCEEDED


def test_the_statement_names_the_exact_call(owner: Client) -> None:
    """What the approver signs holds tool digest, arguments, tier, policy, requester and nonce."""
    waiting = ask(owner, "run_shell", command="id -u", workspace="work")
    statement = parse_statement(waiting.approval.statement)
    owner.cancel_call(waiting.call_id)
    call = statement.call
    assert call.arguments == {"command": "id -u", "workspace": "work"}
    assert call.tool_digest == owner.get_tool("run_shell").digest
    assert (call.tier, call.workspace) == ("process", "work")
    assert call.policy_digest == owner.get_policy().digest
    assert call.principal == owner.who_am_i().principal
    assert len(statement.nonce) >= 32


def test_the_yes_verifies_offline_with_cryptography_alone(owner: Client, approver: Client) -> None:
    """From the export: the signature is by the certificate's key over the stored statement."""
    waiting = ask(owner, "run_shell", command="true")
    approver.answer_approval(waiting.approval, approve=True, reason="seen")
    waiting.end()
    bodies = {
        receipt["kind"]: receipt["body"]
        for receipt in entries(export(owner))
        if receipt["body"].get("call") == waiting.call_id
    }
    body = bodies["approval.answered"]
    assert bodies["call.permitted"]["approval"] == body["approval"] == waiting.approval.approval_id
    statement = waiting.approval.statement
    assert hashlib.sha256(statement).hexdigest() == body["statement_digest"]
    certificate = x509.load_pem_x509_certificate(body["certificate"].encode())
    authority = x509.load_pem_x509_certificate(owner.credentials.authority)
    certificate.verify_directly_issued_by(authority)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    [uri] = names.get_values_for_type(x509.UniformResourceIdentifier)
    assert uri.endswith("/" + body["approver"])
    key = certificate.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    signature = bytes.fromhex(body["signature"])
    key.verify(signature, answer_message(statement, b"approve", b"seen"), ec.ECDSA(hashes.SHA256()))
    for other in (
        answer_message(statement, b"reject", b"seen"),
        answer_message(statement, b"approve", b"see"),
        answer_message(statement + b" ", b"approve", b"seen"),
    ):
        with pytest.raises(InvalidSignature):
            key.verify(signature, other, ec.ECDSA(hashes.SHA256()))


def answer_message(statement: bytes, word: bytes, reason: bytes) -> bytes:
    """The signed message by its documented form, written without this project's code."""
    tag = b"stockade/approval-answer/v1"
    state = hashlib.sha256()
    for part in (tag, word, reason, statement):
        state.update(len(part).to_bytes(8, "big") + part)
    return tag + state.digest()


def test_nobody_answers_in_time_is_expired_never_rejected(workspace: Path) -> None:
    """The clock's end of a call is its own: not a human's no, and certainly not a yes."""
    config = config_with(workspace) + "[approvals]\nlifetime_seconds = 5\n"
    with running(config) as daemon, daemon.client() as owner:
        home = daemon.pair_device("approver", "approvers")
        waiting = ask(owner, "run_shell", command="id")
        statement = json.loads(waiting.approval.statement)
        assert statement["expires_ms"] - statement["created_ms"] == 5000
        end = waiting.end()
        assert (end.state, end.reason) == (call_pb2.CALL_STATE_EXPIRED, "NOBODY_ANSWERED")
        assert not waiting.started
        with Client.open(home) as approver, pytest.raises(Conflict) as caught:
            approver.answer_approval(waiting.approval, approve=True)
        assert caught.value.reason == "APPROVAL_NOT_PENDING"
        gone = owner.get_approval(waiting.approval.approval_id)
        assert gone.state == approval_pb2.APPROVAL_STATE_EXPIRED
        assert kinds(owner, waiting.call_id)[-1] == "call.expired"


def test_a_policy_that_forbids_before_a_restart_still_does_after_it(
    daemon: RunningDaemon,
) -> None:
    """A waiting call survives a restart, but not as permitted: the forbid holds at the yes."""
    home = daemon.pair_device("approver", "approvers")
    with daemon.client() as owner:
        waiting = ask(owner, "run_shell", command="id", detach=True)
        apply(owner, 'forbid (principal, action == Action::"call", resource);')
    daemon.restart()
    with daemon.client() as owner, connect(home, daemon) as approver:
        approver.answer_approval(waiting.approval, approve=True)
        end = list(owner.watch_call(waiting.call_id))[-1].finished
        assert (end.state, end.reason) == (call_pb2.CALL_STATE_DENIED, "FORBIDDEN")
        assert "call.running" not in [r["kind"] for r in receipts(owner, waiting.call_id)]


def test_a_tool_replaced_while_the_daemon_was_down_ends_the_call(daemon: RunningDaemon) -> None:
    """A waiting call is not taken up again for a tool that is no longer the one shown."""
    with daemon.client() as owner, policy(owner, ASK):
        add_tool(owner, "later", ["/bin/echo", "hi"], rest=TEXT)
        waiting = ask(owner, "later", text="hello", detach=True)
    daemon.stop()
    manifest = daemon.home.tools / "later" / "manifest.toml"
    manifest.write_text(manifest.read_text().replace(TEXT, ""))
    daemon.start()
    with daemon.client() as owner:
        assert state(owner, waiting.call_id) == ("CANCELLED", "DAEMON_RESTARTED")
        gone = owner.get_approval(waiting.approval.approval_id)
        assert gone.state == approval_pb2.APPROVAL_STATE_WITHDRAWN
