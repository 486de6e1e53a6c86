"""Leases and their uses.

Trusted to count exactly: a use is one compare-and-swap on the count and one row under its number,
in the transaction of the permit it is for, so that of two that race for the last use one wins, also
between daemons. What is past its time, ended or used up is used by nobody. What a lease means, and
whether its signature is right, is for others.

Functions over a connection; the caller's transaction decides. Leaves: StoreFault.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from enum import StrEnum
from typing import Final

from sqlalchemy import Boolean, Connection, RowMapping, bindparam, func, or_, select, update

from daemon.store.engine import insert_once
from daemon.store.faults import stored_state
from daemon.store.ids import ApprovalId, CallId, DeviceId, LeaseId
from daemon.store.tables import lease_uses, leases

MAX_PAGE: Final = 500


class LeaseState(StrEnum):
    """Where a lease is. Values are stored: never renamed."""

    ACTIVE = "active"
    EXPIRED = "expired"
    USED_UP = "used_up"
    REVOKED = "revoked"
    # Who has it or gave it is gone, or the database does not hold what was signed.
    VOID = "void"


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """A lease; `terms` is what its signer signed."""

    lease_id: LeaseId
    approval_id: ApprovalId
    principal: str
    device_id: DeviceId
    tool: str
    terms: bytes = field(repr=False)
    signer: DeviceId
    signature: bytes = field(repr=False)
    certificate: bytes = field(repr=False)
    state: LeaseState
    reason: str
    uses: int
    max_uses: int
    created_ms: int
    expires_ms: int
    ended_ms: int | None = None
    parent_id: LeaseId | None = None
    # Of those who signed the same terms before: `daemon.leases.signers`.
    cosigned: bytes | None = field(default=None, repr=False)


_GET: Final = select(leases).where(leases.c.lease_id == bindparam("b_id"))
_ACTIVE: Final = (
    select(leases)
    .where(leases.c.state == LeaseState.ACTIVE)
    .order_by(leases.c.created_ms, leases.c.lease_id)
)
_LATEST: Final = (
    select(leases)
    .where(or_(leases.c.state == LeaseState.ACTIVE, bindparam("b_ended", type_=Boolean())))
    .where(or_(leases.c.device_id == bindparam("b_device"), bindparam("b_all", type_=Boolean())))
    .order_by(leases.c.created_ms.desc(), leases.c.lease_id.desc())
    .limit(bindparam("b_limit"))
)
_USE: Final = (
    update(leases)
    .where(leases.c.lease_id == bindparam("b_id"), leases.c.state == LeaseState.ACTIVE)
    .where(leases.c.uses < leases.c.max_uses, leases.c.expires_ms > bindparam("b_now"))
    .values(uses=leases.c.uses + 1)
)
_USES: Final = select(leases.c.uses, leases.c.max_uses).where(
    leases.c.lease_id == bindparam("b_id")
)
_END: Final = (
    update(leases)
    .where(leases.c.lease_id == bindparam("b_id"), leases.c.state == LeaseState.ACTIVE)
    .values(state=bindparam("b_state"), reason=bindparam("b_reason"), ended_ms=bindparam("b_now"))
)
_COUNT: Final = (
    select(func.count()).select_from(lease_uses).where(lease_uses.c.lease_id == bindparam("b_id"))
)
_NARROWED: Final = (
    select(func.count())
    .select_from(leases)
    .where(leases.c.parent_id == bindparam("b_id"), leases.c.state == LeaseState.ACTIVE)
)


def create(connection: Connection, row: LeaseRow) -> bool:
    """Store a new lease; False if its id is taken."""
    values = {column.name: getattr(row, column.name) for column in fields(row)}
    return insert_once(connection, leases, values)


def get(connection: Connection, lease_id: LeaseId) -> LeaseRow | None:
    """The lease, or None."""
    found = connection.execute(_GET, {"b_id": lease_id}).mappings().one_or_none()
    return None if found is None else _row(found)


def active(connection: Connection) -> tuple[LeaseRow, ...]:
    """Those that nobody has ended, oldest first."""
    return tuple(_row(found) for found in connection.execute(_ACTIVE).mappings())


def latest(
    connection: Connection,
    *,
    limit: int = MAX_PAGE,
    ended: bool = True,
    device_id: DeviceId | None = None,
) -> tuple[LeaseRow, ...]:
    """Leases, newest first; with `ended`, also those that stand no more; all, or a device's."""
    whose = {"b_device": device_id or "", "b_all": device_id is None}
    values = {"b_limit": max(1, min(limit, MAX_PAGE)), "b_ended": ended, **whose}
    return tuple(_row(found) for found in connection.execute(_LATEST, values).mappings())


def use(
    connection: Connection, lease_id: LeaseId, call_id: CallId, *, now_ms: int
) -> tuple[int, int] | None:
    """Take one use for a call: its number and how many there are; None if there is none left."""
    if connection.execute(_USE, {"b_id": lease_id, "b_now": now_ms}).rowcount != 1:
        return None
    number, most = connection.execute(_USES, {"b_id": lease_id}).one()
    row = {"lease_id": lease_id, "number": number, "call_id": call_id, "time_ms": now_ms}
    # A count that was set back would give a number again.
    return (number, most) if insert_once(connection, lease_uses, row) else None


def signed(connection: Connection, lease_ids: Iterable[str]) -> dict[str, bytes]:
    """What was signed of those leases that there are, by their ids."""
    found = (get(connection, LeaseId(lease_id)) for lease_id in dict.fromkeys(lease_ids))
    return {str(row.lease_id): row.terms for row in found if row is not None}


def uses(connection: Connection, lease_id: LeaseId) -> int:
    """How many uses there are rows of."""
    return int(connection.execute(_COUNT, {"b_id": lease_id}).scalar_one())


def narrowed(connection: Connection, lease_id: LeaseId) -> int:
    """How many were narrowed from it that nobody has ended."""
    return int(connection.execute(_NARROWED, {"b_id": lease_id}).scalar_one())


def end(
    connection: Connection, lease_id: LeaseId, state: LeaseState, reason: str, *, now_ms: int
) -> bool:
    """End a lease; whether it was active until now."""
    values = {"b_id": lease_id, "b_state": state, "b_reason": reason, "b_now": now_ms}
    return connection.execute(_END, values).rowcount == 1


def _row(found: RowMapping) -> LeaseRow:
    values = dict(found)
    values["state"] = stored_state(LeaseState, values["state"])
    for name in ("terms", "cosigned"):
        if isinstance(values[name], str):
            values[name] = values[name].encode()  # by another hand: no signature will fit
    return LeaseRow(**values)
