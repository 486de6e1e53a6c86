"""What is stored and receipted at each step of a call. Functions of a transaction.

Every change of state is here, each a compare-and-swap with its receipt in the same transaction, so
a state without its receipt, or a receipt without its state, does not exist. Receipts hold digests
of arguments and output, never the bytes, but for the keys that lead to what was redacted; and no
digest that tells anything of that.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from daemon.calls.hearing import Ruling
from daemon.calls.judge import Verdict
from daemon.calls.live import LiveCall
from daemon.contents.kept import Kept
from daemon.errors import Conflict
from daemon.lifecycle import Event, State, next_state
from daemon.store import approvals, calls, snapshots
from daemon.store.approvals import ApprovalRow, ApprovalState
from daemon.store.calls import CallRow, Existing
from daemon.store.commit import Tx
from daemon.store.ids import ApprovalId, CallId, DeviceId, PolicyDigest
from ledger.chain import Entry

EVENT_OF: Mapping[Ruling, Event] = {
    Ruling.PERMIT: Event.PERMIT,
    Ruling.ASK: Event.ASK,
    Ruling.DENY: Event.DENY,
}


@dataclass(frozen=True, slots=True)
class Admission:
    """What is about to be recorded of a new call."""

    live: LiveCall
    tool_digest: str
    now_ms: int
    # What the receipt of the start says, for a permitted call that starts at once: arrival, permit
    # and start are then durable together, and still before anything is spawned.
    started: Mapping[str, Any] | None = None
    # Takes a use of the lease that permits it; raises where there is none left.
    take: Callable[[Tx], Entry] | None = None


def admit(tx: Tx, admission: Admission) -> Entry | Existing:
    """Records arrival and ruling; or finds the call that has this id."""
    live, verdict = admission.live, admission.live.verdict
    state = next_state(State.RECEIVED, EVENT_OF[verdict.ruling])
    starts, kept = admission.started is not None, live.contents
    # Those of a call that waits are needed until it has its end.
    stored = not kept.redacted or state is State.PENDING_APPROVAL
    row = CallRow(
        call_id=CallId(live.call_id),
        principal=str(live.principal),
        device_id=DeviceId(live.principal.device_id),
        tool=live.tool,
        tool_digest=admission.tool_digest,
        digest=verdict.exact.digest() if verdict.exact and stored else "",
        arguments=live.arguments if stored else b"",
        workspace=live.candidate.workspace if live.candidate else "",
        state=next_state(state, Event.START) if starts else state,
        reason="STARTED" if starts else verdict.code,
        detach=live.detach,
        origin=live.principal.origin,
        created_ms=admission.now_ms,
        updated_ms=admission.now_ms,
        redacted=kept.copy if kept.redacted else None,
        salt=kept.salt if kept.redacted and stored else None,
    )
    found = calls.create(tx.connection, row)
    if isinstance(found, Existing):
        return found
    received = {
        "principal": str(live.principal),
        "device": live.principal.device_id,
        **_agent(live),
        "certificate_serial": live.principal.serial,
        "origin": live.principal.origin,
        "tool": live.tool,
        "tool_digest": admission.tool_digest,
        **kept.told(live.arguments),
        "detach": live.detach,
    }
    _receipt(tx, live, "call.received", received)
    keep_told(tx, verdict, admission.now_ms)
    if admission.take is not None:
        admission.take(tx)
    if live.statement is not None:
        _ask(tx, live)
    said = verdict if kept.message is None else replace(verdict, message=kept.message)
    entry = _receipt(tx, live, f"call.{state}", verdict_body(said, kept))
    if admission.started is not None:
        body = {"reason": "STARTED", **admission.started}
        entry = _receipt(tx, live, f"call.{State.RUNNING}", body)
    return entry


def _agent(live: LiveCall) -> dict[str, str]:
    """Which agent asked, exactly, if one did."""
    agent = live.principal.agent
    return {"agent": agent.agent_id, "manifest_digest": agent.manifest_digest} if agent else {}


def _ask(tx: Tx, live: LiveCall) -> None:
    statement = live.shown
    encoded = statement.encode()
    row = ApprovalRow(
        approval_id=ApprovalId(statement.approval_id),
        call_id=CallId(live.call_id),
        statement=encoded,
        state=ApprovalState.PENDING,
        policy_digest=PolicyDigest(statement.call.policy_digest),
        created_ms=statement.created_ms,
        expires_ms=statement.expires_ms,
    )
    if not approvals.create(tx.connection, row):
        raise Conflict("the approval's id is taken", code="APPROVAL_ID_TAKEN", fix="call again")
    body = {
        "approval": statement.approval_id,
        "statement_digest": hashlib.sha256(encoded).hexdigest(),
        "call_digest": live.contents.digest_of(statement.call),
        "expires_ms": statement.expires_ms,
    }
    _receipt(tx, live, "approval.asked", body)


def move(
    tx: Tx,
    live: LiveCall,
    event: Event,
    reason: str,
    now_ms: int,
    body: Mapping[str, Any],
    *,
    from_state: State | None = None,
    outcome: bytes | None = None,
    output: bytes | None = None,
) -> Entry | None:
    """Takes a call one step on; None if it was no longer where it was thought to be."""
    origin = live.state if from_state is None else from_state
    state = next_state(origin, event)
    moved = calls.transition(
        tx.connection,
        CallId(live.call_id),
        origin,
        state,
        reason=reason,
        now_ms=now_ms,
        outcome=outcome,
        output=output,
    )
    if not moved:
        return None
    return _receipt(tx, live, f"call.{state}", {"reason": reason, **body})


def close_approval(tx: Tx, live: LiveCall, state: ApprovalState, now_ms: int) -> bool:
    """Settles the call's approval, if it has one that is open; whether that could be done."""
    if live.statement is None:
        return True
    approval_id = ApprovalId(live.statement.approval_id)
    return approvals.settle(tx.connection, approval_id, state, now_ms=now_ms)


def keep_told(tx: Tx, verdict: Verdict, now_ms: int) -> None:
    """Keeps what policy was told of the entities, with the decision that was made of it."""
    told = verdict.heard.snapshot if verdict.heard else None
    if told is not None and not told.kept:
        snapshot = told.snapshot
        snapshots.save(tx.connection, snapshot.digest, snapshot.content, now_ms)


def was_kept(verdict: Verdict) -> None:
    """What `keep_told` was to keep is durable now."""
    if verdict.heard is not None:
        verdict.heard.snapshot.kept = True


def verdict_body(verdict: Verdict, kept: Kept) -> dict[str, Any]:
    """A verdict, as a receipt has it."""
    exact = verdict.exact
    heard = {"heard": verdict.heard.to_json()} if verdict.heard else {}
    return {
        **heard,
        "reason": verdict.code,
        "message": verdict.message,
        "policies": [ref.id for ref in verdict.policies],
        "questions": [asked.to_json() for asked in verdict.asked],
        "risk": verdict.risk.to_json() if verdict.risk else None,
        "risk_milli": verdict.risk_milli,
        "tier": verdict.tier.label if verdict.tier else None,
        "policy_digest": verdict.policy_digest,
        "call_digest": kept.digest_of(exact),
        "secrets": list(exact.secrets) if exact else [],
        "workspace": exact.workspace if exact else "",
        **({"lease": verdict.lease} if verdict.lease else {}),
    }


def _receipt(tx: Tx, live: LiveCall, kind: str, body: Mapping[str, Any]) -> Entry:
    return tx.receipt(
        kind,
        {"call": live.call_id, **body},
        call_id=CallId(live.call_id),
        principal=str(live.principal),
    )


def move_stored(tx: Tx, row: CallRow, event: Event, reason: str, now_ms: int) -> None:
    """Takes a call that is known only from the store one step on, if it is still there."""
    state = next_state(row.state, event)
    if calls.transition(tx.connection, row.call_id, row.state, state, reason=reason, now_ms=now_ms):
        tx.receipt(
            f"call.{state}",
            {"call": str(row.call_id), "reason": reason},
            call_id=row.call_id,
            principal=row.principal,
        )
