"""Approvals: what is shown is what is signed, and nothing else can be answered."""

# ruff: noqa: ARG001 - asking for the fixture `daemon` serves the home

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from stockade.approving import lease_for, sign_answer, verified
from stockade.credentials import make_key
from stockade.errors import ApprovalUnclear, BadRequest
from stockade.statement import answer_bytes
from stockade.v1 import approval_pb2
from tests.stockade.conftest import Stockade
from tests.stockade.on_terminal import Terminal
from tests.stockade.serving import Daemon, World, approval, statement

ID = statement(1).approval_id


def _verify(
    world: World, daemon: Daemon, request: approval_pb2.AnswerApprovalRequest, said: bytes
) -> None:
    from stockade.credentials import load_credentials

    key = load_credentials(daemon.home.client).key.public_key()
    message = answer_bytes(said, approve=request.approve, reason=request.reason)
    key.verify(request.signature, message, ec.ECDSA(hashes.SHA256()))


def test_approve_signs_what_was_shown(daemon: Daemon, world: World, stockade: Stockade) -> None:
    """The signature is this device's over the statement's own bytes."""
    kept = world.add(statement(1))
    result = stockade("approvals", "approve", ID, "--yes")
    assert result.status == 0
    assert "files.write" in result.out
    _verify(world, daemon, world.requests[-1], kept.statement)


def test_reject_reason_is_signed(daemon: Daemon, world: World, stockade: Stockade) -> None:
    """The reason is part of what is signed."""
    kept = world.add(statement(1))
    assert stockade("approvals", "reject", ID[:-3], "--yes", "--reason", "no").status == 0
    _verify(world, daemon, world.requests[-1], kept.statement)
    world.requests[-1].reason = "yes"
    with pytest.raises(InvalidSignature):
        _verify(world, daemon, world.requests[-1], kept.statement)


def test_no_terminal_no_answer(daemon: Daemon, world: World, stockade: Stockade) -> None:
    """Without a terminal and without --yes nothing is answered, whatever stands on the input."""
    world.add(statement(1))
    assert stockade("approvals", "approve", ID, stdin=b"y\n").status == 2
    assert world.requests == []


def test_once_is_an_answer_where_nobody_can_be_asked(
    daemon: Daemon, world: World, stockade: Stockade
) -> None:
    """Without a terminal `--once` says what the yes is to, and so is the yes."""
    kept = world.add(statement(1))
    assert stockade("approvals", "approve", ID, "--once").status == 0
    _verify(world, daemon, world.requests[-1], kept.statement)
    assert world.requests[-1].lease_terms == b""


def test_the_lease_that_another_signed(daemon: Daemon, world: World, stockade: Stockade) -> None:
    """`--same-lease` signs the very bytes; where there is none, or one about another call, none."""
    said = statement(1)
    one = world.add(said)
    assert stockade("approvals", "approve", ID, "--yes", "--same-lease").err.count("NO_LEASE") == 1
    other = lease_for(statement(2), expires_ms=said.expires_ms, uses=7)
    one.lease_terms = other.encode()
    answer = stockade("approvals", "approve", ID, "--yes", "--same-lease")
    assert "STATEMENT_MISMATCH" in answer.err
    assert world.requests == []
    theirs = lease_for(said, expires_ms=said.expires_ms, uses=7)
    one.lease_terms = theirs.encode()
    assert stockade("approvals", "approve", ID, "--same-lease", "--for", "1h").status == 2
    answer = stockade("approvals", "approve", ID, "--yes", "--same-lease")
    assert (answer.status, "7 at most" in answer.err) == (0, True)
    assert world.requests[-1].lease_terms == theirs.encode()


def test_settled_is_refused(daemon: Daemon, world: World, stockade: Stockade) -> None:
    """An approval that is not pending is not answered."""
    world.add(statement(1)).state = approval_pb2.APPROVAL_STATE_EXPIRED
    result = stockade("approvals", "approve", ID, "--yes")
    assert result.status == 1
    assert "APPROVAL_NOT_PENDING" in result.err


def test_ambiguous_prefix(daemon: Daemon, world: World, stockade: Stockade) -> None:
    """A prefix of two approvals answers neither."""
    world.add(statement(1))
    world.add(statement(2))
    result = stockade("approvals", "approve", "01988a3c", "--yes")
    assert "AMBIGUOUS_ID" in result.err
    assert world.requests == []


@pytest.mark.parametrize("prefix", ["", " "])
def test_empty_id(daemon: Daemon, world: World, stockade: Stockade, prefix: str) -> None:
    """No id is the id of nothing, also where only one approval waits."""
    world.add(statement(1))
    assert stockade("approvals", "approve", prefix, "--yes").status == 1
    assert world.requests == []


def test_substituted_approval(daemon: Daemon, world: World, stockade: Stockade) -> None:
    """Another approval than the one asked for is not answered."""
    world.approvals[ID] = approval(statement(2))
    result = stockade("approvals", "approve", ID, "--yes")
    assert "STATEMENT_INVALID" in result.err
    assert world.requests == []


def _envelope_of_another() -> approval_pb2.Approval:
    message = approval(statement(1))
    message.statement = statement(2).encode()
    return message


def _longer_life() -> approval_pb2.Approval:
    message = approval(statement(1))
    message.expires.seconds += 3600
    return message


def _edited() -> approval_pb2.Approval:
    message = approval(statement(1))
    message.statement = message.statement.replace(b'"a.txt"', b'"b.txt"')
    return message


def _wrong_types() -> Iterator[approval_pb2.Approval]:
    said = statement(1)
    for changed in (
        replace(said, requester_name=7),  # type: ignore[arg-type]
        replace(said, risk_milli="420"),  # type: ignore[arg-type]
        replace(said, risk_milli=True),
        replace(said, call=replace(said.call, arguments=["rm"])),  # type: ignore[arg-type]
        replace(said, call=replace(said.call, secrets=(1,))),  # type: ignore[arg-type]
        replace(said, call=replace(said.call, hosts=(1,))),  # type: ignore[arg-type]
        replace(said, risk={"network": 1}),  # type: ignore[dict-item]
        replace(said, risk=["network"]),  # type: ignore[arg-type]
    ):
        message = approval(said)
        message.statement = changed.encode()
        yield message


@pytest.mark.parametrize(
    "message",
    [_envelope_of_another(), _longer_life(), _edited(), approval_pb2.Approval(), *_wrong_types()],
)
def test_unclear_approval(message: approval_pb2.Approval) -> None:
    """A statement that contradicts its envelope, its digest or its types is never shown."""
    with pytest.raises(ApprovalUnclear):
        verified(message)


def test_reason_too_long() -> None:
    """A reason that the daemon would cut is refused before it is signed."""
    with pytest.raises(BadRequest):
        sign_answer(make_key(), b"{}", False, "x" * 501)


def test_list_hides_unclear(daemon: Daemon, world: World, stockade: Stockade) -> None:
    """One contradictory approval neither breaks the list nor is shown as if it were whole."""
    world.add(statement(1))
    world.approvals["x"] = _edited()
    result = stockade("approvals", "list")
    assert result.status == 0
    assert "STATEMENT_INVALID" in result.out.replace("\n", "")


def test_json_has_parsed_statement(daemon: Daemon, world: World, stockade: Stockade) -> None:
    """--json gives programs the statement as an object."""
    world.add(statement(1))
    shown = json.loads(stockade("approvals", "show", ID, "--json").out)
    assert shown["statement"]["exact"]["tool"] == "files.write"
    assert shown["state"] == "pending"


def test_approve_defaults_to_no(daemon: Daemon, world: World) -> None:
    """At a terminal Enter alone approves nothing, and neither does a y typed ahead."""
    world.add(statement(1))
    terminal = Terminal(str(daemon.home.config), "approvals", "approve", ID)
    try:
        terminal.type("y\n")
        terminal.expect("[y/N]")
        time.sleep(0.3)
        terminal.type("\n")
        terminal.expect("nothing was answered")
        assert terminal.process.wait(90) == 1
    finally:
        terminal.close()
    assert world.requests == []


def test_watch_by_lines(daemon: Daemon, world: World) -> None:
    """Without a terminal a line must name an approval that was shown."""
    world.add(statement(1))
    with subprocess.Popen(
        [sys.executable, "-c", "from stockade.cli.main import main; main()", "approvals", "watch"],
        env={**os.environ, "STOCKADE_HOME": str(daemon.home.config)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        while b"arguments" not in process.stdout.readline():
            pass
        process.stdin.write(f"approve {statement(2).approval_id}\na\n".encode())
        process.stdin.flush()
        time.sleep(0.5)
        assert world.requests == []
        process.stdin.write(f"reject {ID} too risky\nquit\n".encode())
        process.stdin.flush()
        process.communicate(timeout=90)
    assert process.returncode == 0
    assert (world.requests[-1].approve, world.requests[-1].reason) == (False, "too risky")
