"""Calls, by their id, which is the idempotency key.

Trusted to create a call once and to move it only from a state the caller named. Which moves are
legal is daemon.lifecycle's; that each has a receipt is the enforcement point's. Of a call that
has a redacted copy, nothing but that copy is left once it has ended: arguments, their salt and the
digest that they could be found by go with the change of its state.

Functions over a connection; the caller's transaction decides. Leaves: StoreFault.
"""

from collections.abc import Collection
from dataclasses import dataclass, field, fields
from typing import Final

from sqlalchemy import (
    Connection,
    RowMapping,
    bindparam,
    case,
    func,
    literal,
    null,
    select,
    tuple_,
    update,
)

from daemon.lifecycle import ENDS, UNFINISHED, State
from daemon.store.engine import insertion_once
from daemon.store.faults import stored_state
from daemon.store.ids import CallId, DeviceId
from daemon.store.prepared import Prepared
from daemon.store.tables import calls

MAX_PAGE: Final = 500

_READ: Final = tuple(column for column in calls.c if column is not calls.c.output)
_OUTPUT: Final = select(calls.c.output).where(calls.c.call_id == bindparam("b_call"))
_GET: Final = select(*_READ).where(calls.c.call_id == bindparam("b_call"))
_CREATE: Final = Prepared(insertion_once(calls))
_MOVED: Final = (
    update(calls)
    .where(calls.c.call_id == bindparam("b_call"), calls.c.state == bindparam("b_from"))
    .values(
        state=bindparam("b_to"),
        reason=bindparam("b_reason"),
        updated_ms=bindparam("b_now"),
        outcome=func.coalesce(bindparam("b_outcome", type_=calls.c.outcome.type), calls.c.outcome),
    )
)
_MOVE: Final = Prepared(_MOVED)
_REDACTED: Final = calls.c.redacted.is_not(None)
_END: Final = Prepared(
    _MOVED.values(
        arguments=case((_REDACTED, bindparam("b_no_bytes")), else_=calls.c.arguments),
        digest=case((_REDACTED, bindparam("b_no_text")), else_=calls.c.digest),
        salt=null(),
        output=bindparam("b_output", type_=calls.c.output.type),
    )
)
_WAITING: Final = (
    select(
        calls.c.call_id,
        calls.c.principal,
        calls.c.device_id,
        calls.c.origin,
        calls.c.tool,
        calls.c.tool_digest,
        calls.c.detach,
    )
    .where(calls.c.state == State.PENDING_APPROVAL)
    .order_by(calls.c.created_ms, calls.c.call_id)
)
_BEGUN: Final = (
    select(*_READ)
    .where(calls.c.state.in_(sorted(UNFINISHED - {State.PENDING_APPROVAL})))
    .order_by(calls.c.created_ms, calls.c.call_id)
)


@dataclass(frozen=True, slots=True)
class CallRow:
    """A call as it is stored. `arguments` is canonical JSON and is in no repr.

    They are the true ones, or empty: what is in `redacted` is never to be judged.
    """

    call_id: CallId
    principal: str
    device_id: DeviceId
    tool: str
    tool_digest: str
    digest: str
    arguments: bytes = field(repr=False)
    workspace: str | None
    state: State
    reason: str
    detach: bool
    origin: str
    created_ms: int
    updated_ms: int
    outcome: bytes | None = field(default=None, repr=False)
    redacted: bytes | None = field(default=None, repr=False)
    salt: bytes | None = field(default=None, repr=False)


_COLUMNS: Final = tuple(column.name for column in fields(CallRow))


@dataclass(frozen=True, slots=True)
class WaitingRow:
    """What tells whether a call that waits for approval may go on waiting."""

    call_id: CallId
    principal: str
    device_id: DeviceId
    origin: str
    tool: str
    tool_digest: str
    detach: bool


@dataclass(frozen=True, slots=True)
class Created:
    """The call is new and now stored."""


@dataclass(frozen=True, slots=True)
class Existing:
    """The id is taken. The row may be another principal's: compare before answering with it."""

    row: CallRow


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last row of a page."""

    created_ms: int
    call_id: CallId


def create(connection: Connection, row: CallRow) -> Created | Existing:
    """Store a new call, unless its id was used before."""
    values = {**{name: getattr(row, name) for name in _COLUMNS}, "output": None}
    if _CREATE.run(connection, values) == 1:
        return Created()
    return Existing(_row(connection.execute(_GET, {"b_call": row.call_id}).mappings().one()))


def get(connection: Connection, call_id: CallId) -> CallRow | None:
    """The call, or None."""
    found = connection.execute(_GET, {"b_call": call_id}).mappings().one_or_none()
    return None if found is None else _row(found)


def output(connection: Connection, call_id: CallId) -> bytes | None:
    """What is kept of its output; None also where another hand has put what is no bytes."""
    found = connection.execute(_OUTPUT, {"b_call": call_id}).scalar_one_or_none()
    return found if isinstance(found, bytes) else None


def transition(
    connection: Connection,
    call_id: CallId,
    from_state: State,
    to_state: State,
    *,
    reason: str,
    now_ms: int,
    outcome: bytes | None = None,
    output: bytes | None = None,
) -> bool:
    """Move the call if it is in `from_state`; whether it was. None keeps the outcome.

    `output` is what is kept of it, where it moves to its end.
    """
    values = {
        "b_call": call_id,
        "b_from": from_state,
        "b_to": to_state,
        "b_reason": reason,
        "b_now": now_ms,
        "b_outcome": outcome,
        "b_no_bytes": b"",
        "b_no_text": "",
        "b_output": output,
    }
    return (_END if to_state in ENDS else _MOVE).run(connection, values) == 1


def page(
    connection: Connection,
    *,
    principal: str | None = None,
    device: str | None = None,
    states: Collection[State] | None = None,
    before: Cursor | None = None,
    limit: int = MAX_PAGE,
) -> tuple[CallRow, ...]:
    """Calls, newest first, that come after the cursor. No states at all match no call."""
    statement = select(*_READ).order_by(calls.c.created_ms.desc(), calls.c.call_id.desc())
    if principal is not None:
        statement = statement.where(calls.c.principal == principal)
    if device is not None:
        statement = statement.where(calls.c.device_id == device)
    if states is not None:
        statement = statement.where(calls.c.state.in_(sorted(states)))
    if before is not None:
        place = tuple_(literal(before.created_ms), literal(before.call_id))
        statement = statement.where(tuple_(calls.c.created_ms, calls.c.call_id) < place)
    statement = statement.limit(max(1, min(limit, MAX_PAGE)))
    return tuple(_row(found) for found in connection.execute(statement).mappings())


def begun(connection: Connection) -> tuple[CallRow, ...]:
    """Every call that has no end and does not wait for approval: at start-up, it died with us."""
    return tuple(_row(found) for found in connection.execute(_BEGUN).mappings())


def waiting(connection: Connection) -> tuple[WaitingRow, ...]:
    """Every call that waits for approval, oldest first: there may be many, so no more of each."""
    return tuple(WaitingRow(*found) for found in connection.execute(_WAITING))


def cursor(row: CallRow) -> Cursor:
    """Where the page that ends with `row` ended."""
    return Cursor(row.created_ms, row.call_id)


def _row(found: RowMapping) -> CallRow:
    values = dict(found)
    values["state"] = stored_state(State, values["state"])
    return CallRow(**values)
