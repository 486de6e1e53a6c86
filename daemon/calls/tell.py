"""What the watchers of a call are told, and when. Each function adds events to the call's feed."""

from collections.abc import Sequence

import orjson

from daemon.calls.hearing import Ruling
from daemon.calls.judge import Verdict
from daemon.calls.live import LiveCall, timestamp
from daemon.calls.run import Finished
from daemon.lifecycle import State, next_state
from daemon.outcome import Ending
from ledger.chain import Entry
from ledger.receipt import parse_time
from stockade.v1 import call_pb2

_VERDICTS = {
    Ruling.PERMIT: call_pb2.CallEvent.Decision.VERDICT_PERMITTED,
    Ruling.ASK: call_pb2.CallEvent.Decision.VERDICT_NEEDS_APPROVAL,
    Ruling.DENY: call_pb2.CallEvent.Decision.VERDICT_DENIED,
}

STATES: dict[State, "call_pb2.CallState.ValueType"] = {
    state: call_pb2.CallState.Value(f"CALL_STATE_{state.name}") for state in State
}


def tell_received(live: LiveCall, now_ms: int) -> None:
    """It is recorded; and what policy said."""
    event = live.event(now_ms)
    event.received.tool = live.tool
    event.received.principal = str(live.principal)
    live.feed.publish(event)
    event = live.event(now_ms)
    event.decision.CopyFrom(decision(live.verdict))
    live.feed.publish(event)


def tell_waiting(live: LiveCall, approvers: Sequence[str], now_ms: int) -> None:
    """A human is needed: who may say yes, and until when."""
    statement = live.shown
    event = live.event(now_ms)
    event.awaiting_approval.approval_id = statement.approval_id
    event.awaiting_approval.expires.CopyFrom(timestamp(statement.expires_ms))
    event.awaiting_approval.approvers.extend(approvers)
    live.feed.publish(event)


def tell_started(live: LiveCall, tier: str, now_ms: int) -> None:
    """The sandbox has it."""
    event = live.event(now_ms)
    event.started.tier = tier
    live.feed.publish(event)


def tell_ending(
    live: LiveCall, ending: Ending, now_ms: int, finished: Finished | None = None
) -> None:
    """The end, with the receipt of it."""
    state = live.state if live.ended else next_state(live.state, ending.event)
    event = live.event(now_ms)
    told = event.finished
    told.state = STATES[state]
    told.reason, told.message, told.limit = ending.reason, ending.message, ending.limit
    told.fix = ending.fix
    if ending.exit_code is not None:
        told.exit_code = ending.exit_code
    if ending.signal is not None:
        told.signal = ending.signal
    if finished is not None:
        outcome = finished.outcome
        told.usage.wall_ms = outcome.usage.wall_ms
        told.usage.cpu_ms = outcome.usage.cpu_ms or 0
        told.usage.max_memory_bytes = outcome.usage.max_rss_bytes or 0
        told.usage.stdout_bytes = outcome.stdout_bytes
        told.usage.stderr_bytes = outcome.stderr_bytes
        told.redactions = finished.redactions
        told.put_aside.extend(finished.put_aside)
    if live.last_entry is not None:
        told.receipt.CopyFrom(receipt(live.last_entry))
    live.feed.publish(event)


def decision(verdict: Verdict) -> call_pb2.CallEvent.Decision:
    """A verdict on the wire."""
    return call_pb2.CallEvent.Decision(
        verdict=_VERDICTS[verdict.ruling],
        reason=verdict.code,
        message=verdict.message,
        policies=[
            call_pb2.PolicyReference(id=ref.id, file=ref.file, line=ref.line)
            for ref in verdict.policies
        ],
        policy_digest=verdict.policy_digest,
        risk_milli=verdict.risk_milli,
        tier=verdict.tier.label if verdict.tier else "",
        call_digest=verdict.exact.digest() if verdict.exact else "",
    )


def receipt(entry: Entry) -> call_pb2.Receipt:
    """A ledger entry on the wire."""
    return call_pb2.Receipt(
        chain=orjson.loads(entry.canonical)["chain"],
        sequence=entry.sequence,
        receipt_id=entry.receipt_id,
        kind=entry.kind,
        time=timestamp(parse_time(entry.time)),
        canonical=entry.canonical,
        digest=entry.digest,
        signature=entry.signature,
    )
