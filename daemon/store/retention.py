"""Taking the contents of what is over out of the database: arguments, statements, leases' terms.

Trusted to leave every receipt, and every call with its id and state: what is pruned cannot come
again under its id, and the ledger still says what there was by its digest. Oldest first, a batch at
a time, up to the first call that has not ended. Functions over a connection; the caller's
transaction decides. Leaves: StoreFault.
"""

from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, delete, exists, func, select, tuple_, update

from daemon.lifecycle import ENDS
from daemon.store import meta
from daemon.store.approvals import ApprovalState
from daemon.store.leases import LeaseState
from daemon.store.tables import (
    CONTENTS_SIZE,
    NO_CONTENTS,
    approval_answers,
    approval_shown,
    approvals,
    calls,
    lease_uses,
    leases,
)

BATCH: Final = 200
_REACHED: Final = "retention.reached"

_PLACE: Final = tuple_(calls.c.created_ms, calls.c.call_id)
_OLDEST: Final = (
    select(calls.c.call_id, calls.c.created_ms, calls.c.state, CONTENTS_SIZE)
    .where(tuple_(bindparam("b_created"), bindparam("b_call")) < _PLACE)
    .where(calls.c.created_ms < bindparam("b_before"))
    .order_by(calls.c.created_ms, calls.c.call_id)
    .limit(bindparam("b_limit"))
)
_HELD_BACK: Final = (
    select(calls.c.device_id, func.sum(CONTENTS_SIZE))
    .where(tuple_(bindparam("b_created"), bindparam("b_call")) < _PLACE)
    .where(calls.c.state.in_(ENDS), CONTENTS_SIZE > 0)
    .group_by(calls.c.device_id)
)
_EMPTY: Final = update(calls).where(calls.c.call_id == bindparam("b_pruned")).values(**NO_CONTENTS)
_child: Final = leases.alias()
_LEASES: Final = (
    select(leases.c.lease_id)
    .where(leases.c.state != LeaseState.ACTIVE, leases.c.ended_ms < bindparam("b_before"))
    # One that was handed on stays as long as what was made of it.
    .where(~exists().where(_child.c.parent_id == leases.c.lease_id))
    .limit(bindparam("b_limit"))
)
_APPROVALS: Final = (
    select(approvals.c.approval_id, func.length(approvals.c.statement))
    .where(approvals.c.state != ApprovalState.PENDING)
    .where(approvals.c.created_ms < bindparam("b_before"))
    .where(~exists().where(leases.c.approval_id == approvals.c.approval_id))
    .order_by(approvals.c.created_ms, approvals.c.approval_id)
    .limit(bindparam("b_limit"))
)


@dataclass(frozen=True, slots=True)
class Pruned:
    """What one batch took; `before_ms` is how far it came."""

    calls: int
    approvals: int
    leases: int
    size: int
    before_ms: int

    @property
    def anything(self) -> bool:
        """Whether it took something."""
        return bool(self.calls or self.approvals or self.leases)


def prune(connection: Connection, before_ms: int, *, limit: int = BATCH) -> Pruned:
    """Take the contents of the oldest calls, approvals and leases that are over since then."""
    pruned, taken, reached = _calls(connection, before_ms, limit)
    ended = _leases(connection, reached, limit)
    settled, statements = _approvals(connection, reached, limit)
    return Pruned(pruned, settled, ended, taken + statements, reached)


def held_back(connection: Connection) -> tuple[tuple[int, str], dict[str, int]]:
    """How far pruning has come, and what of whom is over beyond a call that is not, in bytes."""
    created, _, call_id = (meta.get(connection, _REACHED) or "-1 ").partition(" ")
    place = (int(created), call_id)
    found = connection.execute(_HELD_BACK, {"b_created": place[0], "b_call": place[1]})
    return place, {device: int(size) for device, size in found}


def _calls(connection: Connection, before_ms: int, limit: int) -> tuple[int, int, int]:
    """How many calls, how many bytes, and up to when all are done."""
    before = meta.get(connection, _REACHED)
    created, _, call_id = (before or "0 ").partition(" ")
    place = {"b_created": int(created), "b_call": call_id}
    asked = {**place, "b_before": before_ms, "b_limit": limit}
    count = taken = 0
    after = before
    rows = connection.execute(_OLDEST, asked).all()
    for row in rows:
        if row.state not in ENDS:
            # It keeps what it has, and what is younger waits for it.
            return _reached(connection, before, after, count, taken, row.created_ms)
        if row[3]:
            connection.execute(_EMPTY, {"b_pruned": row.call_id})
            count, taken = count + 1, taken + row[3]
        after = f"{row.created_ms} {row.call_id}"
    through = before_ms if len(rows) < limit else rows[-1].created_ms
    return _reached(connection, before, after, count, taken, through)


def _reached(
    connection: Connection, before: str | None, after: str | None, *found: int
) -> tuple[int, int, int]:
    if after is not None and after != before:
        meta.swap(connection, _REACHED, before, after)
    count, taken, through = found
    return count, taken, through


def _leases(connection: Connection, before_ms: int, limit: int) -> int:
    found = connection.execute(_LEASES, {"b_before": before_ms, "b_limit": limit}).scalars().all()
    if found:
        connection.execute(delete(lease_uses).where(lease_uses.c.lease_id.in_(found)))
        connection.execute(delete(leases).where(leases.c.lease_id.in_(found)))
    return len(found)


def _approvals(connection: Connection, before_ms: int, limit: int) -> tuple[int, int]:
    rows = connection.execute(_APPROVALS, {"b_before": before_ms, "b_limit": limit}).all()
    ids = [row.approval_id for row in rows]
    if ids:
        for table in (approval_answers, approval_shown, approvals):
            connection.execute(delete(table).where(table.c.approval_id.in_(ids)))
    return len(ids), sum(row[1] for row in rows)
