"""Approvals and their answers.

Trusted to settle an approval once, to count one answer of a device, and to let an approval be used
once, in time, and under the policy it was asked under: each is one compare-and-swap, so of two
that race exactly one wins, also between daemons. Whose yes counts and how many are enough is
policy's; whether a signature is right is the approver's.

Functions over a connection; the caller's transaction decides. Leaves: StoreFault.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Final

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    RowMapping,
    Select,
    String,
    bindparam,
    func,
    select,
    tuple_,
    update,
)

from daemon.store.engine import insert_once
from daemon.store.faults import stored_state
from daemon.store.ids import ApprovalId, CallId, DeviceId, PolicyDigest
from daemon.store.tables import approval_answers, approvals

MAX_PAGE: Final = 500


class ApprovalState(StrEnum):
    """Where an approval is. Values are stored: never renamed."""

    PENDING = "pending"
    APPROVED = "approved"
    REJECTED = "rejected"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    USED = "used"


class Answered(StrEnum):
    """What became of an answer."""

    RECORDED = "recorded"
    TWICE = "twice"
    NOT_PENDING = "not_pending"


_IN_TIME: Final = approvals.c.expires_ms > bindparam("b_now")
_LATE: Final = approvals.c.expires_ms <= bindparam("b_now")

_SETTLE: Final[dict[ApprovalState, tuple[frozenset[ApprovalState], ColumnElement[bool] | None]]] = {
    # A yes after the time is no yes, and a no is no timeout.
    ApprovalState.APPROVED: (frozenset({ApprovalState.PENDING}), _IN_TIME),
    ApprovalState.REJECTED: (frozenset({ApprovalState.PENDING}), _IN_TIME),
    ApprovalState.EXPIRED: (frozenset({ApprovalState.PENDING, ApprovalState.APPROVED}), _LATE),
    # The caller cancelled, or policy, asked again after the yes, said no.
    ApprovalState.WITHDRAWN: (frozenset({ApprovalState.PENDING, ApprovalState.APPROVED}), None),
}
"""To which state, from which, and when. USED is not here: `use` is the only way to it."""

_GET: Final = select(approvals).where(approvals.c.approval_id == bindparam("b_id"))
_ANSWERS: Final = (
    select(approval_answers)
    .where(approval_answers.c.approval_id == bindparam("b_id"))
    .order_by(approval_answers.c.time_ms, approval_answers.c.device_id)
)
_ANSWERS_TO: Final = (
    select(*(column for column in approval_answers.c if column.name != "lease_terms"))
    .where(approval_answers.c.approval_id.in_(bindparam("b_ids", expanding=True)))
    .order_by(approval_answers.c.time_ms, approval_answers.c.device_id)
)
_OPEN: Final = (
    select(approvals.c.approval_id)
    .where(approvals.c.approval_id == bindparam("b_id"))
    .where(approvals.c.state == ApprovalState.PENDING, _IN_TIME)
    .with_for_update()  # SQLite needs none: its writers are one after the other
)
_PLACE: Final = tuple_(approvals.c.created_ms, approvals.c.approval_id)
_CURSOR: Final = tuple_(bindparam("b_created", type_=BigInteger), bindparam("b_id", type_=String))
_PENDING: Final = (
    select(approvals)
    .where(approvals.c.state == ApprovalState.PENDING, _PLACE > _CURSOR)
    .order_by(approvals.c.created_ms, approvals.c.approval_id)
    .limit(bindparam("b_limit"))
)
_LATEST: Final = (
    select(approvals)
    .where(_PLACE < _CURSOR)
    .order_by(approvals.c.created_ms.desc(), approvals.c.approval_id.desc())
    .limit(bindparam("b_limit"))
)
_UNESCALATED: Final = (
    select(approvals)
    .where(approvals.c.state == ApprovalState.PENDING, approvals.c.escalated_ms.is_(None))
    .where(approvals.c.created_ms <= bindparam("b_before"))
    .order_by(approvals.c.created_ms, approvals.c.approval_id)
    .limit(bindparam("b_limit"))
)
_ESCALATE: Final = (
    update(approvals)
    .where(approvals.c.approval_id == bindparam("b_id"))
    .where(approvals.c.state == ApprovalState.PENDING, approvals.c.escalated_ms.is_(None))
    .values(escalated_ms=bindparam("b_now"))
)
_USED: Final = (
    select(approvals)
    .where(approvals.c.state == ApprovalState.USED)
    .where(func.length(approvals.c.statement) <= bindparam("b_bytes", type_=BigInteger))
    .order_by(approvals.c.created_ms.desc(), approvals.c.approval_id.desc())
    .limit(bindparam("b_limit"))
)
_OF_CALL: Final = (
    select(approvals)
    .where(approvals.c.call_id == bindparam("b_call"))
    .order_by(approvals.c.created_ms, approvals.c.approval_id)
)
_DUE: Final = (
    select(approvals.c.call_id)
    .where(approvals.c.state == ApprovalState.PENDING, _LATE)
    .order_by(approvals.c.expires_ms)
    .limit(bindparam("b_limit"))
)
_USE: Final = (
    update(approvals)
    .where(approvals.c.approval_id == bindparam("b_id"))
    .where(approvals.c.call_id == bindparam("b_call"))
    .where(approvals.c.policy_digest == bindparam("b_policy"))
    .where(approvals.c.state == ApprovalState.APPROVED, _IN_TIME)
    .values(state=ApprovalState.USED, settled_ms=bindparam("b_now"))
)
_MOVES: Final = {
    to: update(approvals)
    .where(approvals.c.approval_id == bindparam("b_id"))
    .where(approvals.c.state.in_(sorted(origins)), *(() if when is None else (when,)))
    .values(state=to, settled_ms=bindparam("b_now"))
    for to, (origins, when) in _SETTLE.items()
}


@dataclass(frozen=True, slots=True)
class ApprovalRow:
    """An approval; `statement` is what people are shown and sign."""

    approval_id: ApprovalId
    call_id: CallId
    statement: bytes = field(repr=False)
    state: ApprovalState
    policy_digest: PolicyDigest
    created_ms: int
    expires_ms: int
    settled_ms: int | None = None
    escalated_ms: int | None = None


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """One device's signed answer, with the certificate it was checked against."""

    approval_id: ApprovalId
    device_id: DeviceId
    answer: str
    signature: bytes = field(repr=False)
    certificate: bytes = field(repr=False)
    reason: str
    time_ms: int
    # Where a lease was signed with a yes; what was signed is left out of lists.
    lease_signature: bytes | None = field(default=None, repr=False)
    lease_terms: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last row of a page."""

    created_ms: int
    approval_id: str


def create(connection: Connection, row: ApprovalRow) -> bool:
    """Store a new approval; False if the id is taken."""
    return insert_once(connection, approvals, _values(row))


def get(connection: Connection, approval_id: ApprovalId) -> ApprovalRow | None:
    """The approval, or None."""
    found = connection.execute(_GET, {"b_id": approval_id}).mappings().one_or_none()
    return None if found is None else _row(found)


def pending(
    connection: Connection, *, limit: int = MAX_PAGE, after: Cursor | None = None
) -> tuple[ApprovalRow, ...]:
    """Those nobody has settled, oldest first."""
    return _page(connection, _PENDING, after or Cursor(-1, ""), limit)


def latest(
    connection: Connection, *, limit: int = MAX_PAGE, after: Cursor | None = None
) -> tuple[ApprovalRow, ...]:
    """Also the settled ones, newest first."""
    return _page(connection, _LATEST, after or Cursor(2**62, ""), limit)


def _page(
    connection: Connection, query: Select[tuple[object, ...]], after: Cursor, limit: int
) -> tuple[ApprovalRow, ...]:
    place = {"b_created": after.created_ms, "b_id": after.approval_id}
    found = connection.execute(query, {**place, "b_limit": _cap(limit)})
    return tuple(_row(row) for row in found.mappings())


def unescalated(connection: Connection, *, before_ms: int, limit: int) -> tuple[ApprovalRow, ...]:
    """Those that have waited since then or longer, and were not escalated yet."""
    found = connection.execute(_UNESCALATED, {"b_before": before_ms, "b_limit": limit})
    return tuple(_row(row) for row in found.mappings())


def escalate(connection: Connection, approval_id: ApprovalId, *, now_ms: int) -> bool:
    """Note that others are asked from now on; whether it was this call that did."""
    return connection.execute(_ESCALATE, {"b_id": approval_id, "b_now": now_ms}).rowcount == 1


def used(connection: Connection, *, limit: int, max_bytes: int) -> tuple[ApprovalRow, ...]:
    """Those that a run took, newest first, whose statement is no longer than that."""
    found = connection.execute(_USED, {"b_limit": limit, "b_bytes": max_bytes})
    return tuple(_row(row) for row in found.mappings())


def of_call(connection: Connection, call_id: CallId) -> tuple[ApprovalRow, ...]:
    """Those of one call, oldest first."""
    return tuple(
        _row(found) for found in connection.execute(_OF_CALL, {"b_call": call_id}).mappings()
    )


def answers(connection: Connection, approval_id: ApprovalId) -> tuple[AnswerRow, ...]:
    """The answers so far, in the order they came."""
    return tuple(
        AnswerRow(**found)
        for found in connection.execute(_ANSWERS, {"b_id": approval_id}).mappings()
    )


def answers_to(
    connection: Connection, approval_ids: Sequence[ApprovalId]
) -> dict[ApprovalId, tuple[AnswerRow, ...]]:
    """The answers to each of these that has any, in the order they came; at most a page of them.

    Without the terms of the leases that were signed with them.
    """
    found: dict[ApprovalId, tuple[AnswerRow, ...]] = {}
    for values in connection.execute(_ANSWERS_TO, {"b_ids": list(approval_ids)}).mappings():
        row = AnswerRow(**values)
        found[row.approval_id] = (*found.get(row.approval_id, ()), row)
    return found


def lease_offered(connection: Connection, approval_id: ApprovalId) -> bytes:
    """The terms of the lease that was signed with a yes to it, of several the first; or nothing."""
    given = (one.lease_terms for one in answers(connection, approval_id))
    return next((terms for terms in given if isinstance(terms, bytes)), b"")


def answer(connection: Connection, row: AnswerRow) -> Answered:
    """Record an answer, if it is the device's first and the approval waits for one.

    Recording settles nothing: ask policy whether it is enough now, then `settle` in the same
    transaction.
    """
    opened = connection.execute(_OPEN, {"b_id": row.approval_id, "b_now": row.time_ms})
    if opened.one_or_none() is None:
        return Answered.NOT_PENDING
    first = insert_once(connection, approval_answers, _values(row))
    return Answered.RECORDED if first else Answered.TWICE


def settle(
    connection: Connection, approval_id: ApprovalId, to_state: ApprovalState, *, now_ms: int
) -> bool:
    """Move the approval, if it is where that is possible; whether it was this call that did."""
    move = _MOVES.get(to_state)
    if move is None:
        raise ValueError(f"an approval is not settled as {to_state}")
    return connection.execute(move, {"b_id": approval_id, "b_now": now_ms}).rowcount == 1


def use(
    connection: Connection,
    approval_id: ApprovalId,
    *,
    call_id: CallId,
    policy_digest: PolicyDigest,
    now_ms: int,
) -> bool:
    """Take an approval for its run: once, in time, for its call, under the policy it was for."""
    values = {"b_id": approval_id, "b_call": call_id, "b_policy": policy_digest, "b_now": now_ms}
    return connection.execute(_USE, values).rowcount == 1


def due(connection: Connection, *, now_ms: int, limit: int = MAX_PAGE) -> tuple[CallId, ...]:
    """The calls whose approval is past its time and not settled, a bounded number."""
    found = connection.execute(_DUE, {"b_now": now_ms, "b_limit": _cap(limit)})
    return tuple(CallId(call_id) for call_id in found.scalars())


def _cap(limit: int) -> int:
    return max(1, min(limit, MAX_PAGE))


def _values(row: ApprovalRow | AnswerRow) -> dict[str, object]:
    return {column.name: getattr(row, column.name) for column in fields(row)}


def _row(found: RowMapping) -> ApprovalRow:
    values = dict(found)
    values["state"] = stored_state(ApprovalState, values["state"])
    if isinstance(values["statement"], str):
        # Written by another hand than ours: whoever compares it with what was asked finds that out,
        # and the other approvals can still be read.
        values["statement"] = values["statement"].encode()
    return ApprovalRow(**values)
