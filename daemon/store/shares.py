"""What is too much, by who made it: the contents of the devices that have more than their share.

A device answers for its agents, so all of theirs is its own: more agents are no more room. Trusted
to take nothing of a device that has no more than an equal share of the room, whatever the others
send; of the rest, the oldest first. Functions over a connection; the caller's transaction decides.
Leaves: StoreFault.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, Select, bindparam, delete, exists, func, select, tuple_, update

from daemon.lifecycle import ENDS
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

_ARGUMENTS: Final = select(calls.c.device_id, func.coalesce(func.sum(CONTENTS_SIZE), 0)).group_by(
    calls.c.device_id
)
_STATEMENTS: Final = (
    select(calls.c.device_id, func.coalesce(func.sum(func.length(approvals.c.statement)), 0))
    .join(calls, calls.c.call_id == approvals.c.call_id)
    .group_by(calls.c.device_id)
)
_PLACE: Final = tuple_(calls.c.created_ms, calls.c.call_id)
_OLDEST: Final = (
    select(calls.c.call_id, calls.c.created_ms, calls.c.state, CONTENTS_SIZE)
    .where(calls.c.device_id == bindparam("b_device"))
    .where(tuple_(bindparam("b_created"), bindparam("b_call")) < _PLACE)
    .order_by(calls.c.created_ms, calls.c.call_id)
    .limit(bindparam("b_limit"))
)
_EMPTY: Final = update(calls).where(calls.c.call_id == bindparam("b_pruned")).values(**NO_CONTENTS)
_child: Final = leases.alias()
_OF_CALLS: Final = (
    select(approvals.c.approval_id, func.length(approvals.c.statement))
    .where(approvals.c.state != ApprovalState.PENDING)
    .where(approvals.c.call_id.in_(bindparam("b_calls", expanding=True)))
)
_ENDED: Final = (
    select(leases.c.lease_id)
    .where(leases.c.approval_id.in_(bindparam("b_approvals", expanding=True)))
    .where(leases.c.state != LeaseState.ACTIVE)
    # One that was handed on stays as long as what was made of it.
    .where(~exists().where(_child.c.parent_id == leases.c.lease_id))
)
_FREE: Final = _OF_CALLS.where(~exists().where(leases.c.approval_id == approvals.c.approval_id))


@dataclass(frozen=True, slots=True)
class Taken:
    """What one batch took of a device; after `place` there may be more, unless it is None."""

    calls: int
    approvals: int
    leases: int
    size: int
    before_ms: int
    place: tuple[int, str] | None

    @property
    def anything(self) -> bool:
        """Whether it took something."""
        return bool(self.calls or self.approvals or self.leases)


def sizes(connection: Connection) -> dict[str, int]:
    """Bytes of contents that are kept, by device. It looks at every call."""
    found: dict[str, int] = {}
    for statement in (_ARGUMENTS, _STATEMENTS):
        for device, size in connection.execute(statement):
            found[device] = found.get(device, 0) + int(size)
    return found


def excess(held: Mapping[str, int], room: int) -> dict[str, int]:
    """How much of whom is too much: who has less than an equal share leaves the rest to others."""
    smallest_first = sorted(held.items(), key=lambda item: (item[1], item[0]))
    for number, (_, size) in enumerate(smallest_first):
        share = room // (len(smallest_first) - number)
        if size > share:
            return {device: size - share for device, size in smallest_first[number:]}
        room -= size
    return {}


def take(
    connection: Connection, device: str, after: tuple[int, str], enough: int, limit: int = BATCH
) -> Taken:
    """Take the contents of a device's oldest calls that are over, up to `enough` bytes."""
    place = {"b_device": device, "b_created": after[0], "b_call": after[1], "b_limit": limit}
    rows = connection.execute(_OLDEST, place).all()
    over: list[str] = []
    count, taken, reached = 0, 0, after
    for row in rows:
        if taken >= enough:
            break
        reached = (row.created_ms, row.call_id)
        if row.state not in ENDS:
            continue  # it keeps what it has
        over.append(row.call_id)
        if row[3]:
            connection.execute(_EMPTY, {"b_pruned": row.call_id})
            count, taken = count + 1, taken + row[3]
    ended, settled, statements = asked_about(connection, over)
    taken += statements
    more = len(rows) == limit or reached[1] != (rows[-1].call_id if rows else after[1])
    return Taken(count, settled, ended, taken, reached[0], reached if more else None)


def asked_about(connection: Connection, over: list[str]) -> tuple[int, int, int]:
    """Take what people were asked about these calls, and leases of it that have ended.

    How many leases, how many approvals, and how many bytes these had.
    """
    found = _ids(connection, _OF_CALLS, {"b_calls": over})
    ended = connection.execute(_ENDED, {"b_approvals": list(found)}).scalars().all()
    if ended:
        connection.execute(delete(lease_uses).where(lease_uses.c.lease_id.in_(ended)))
        connection.execute(delete(leases).where(leases.c.lease_id.in_(ended)))
    free = _ids(connection, _FREE, {"b_calls": over})
    for table in (approval_answers, approval_shown, approvals):
        if free:
            connection.execute(delete(table).where(table.c.approval_id.in_(list(free))))
    return len(ended), len(free), sum(free.values())


def _ids(
    connection: Connection, statement: Select[str, int], values: dict[str, list[str]]
) -> dict[str, int]:
    return {name: int(size) for name, size in connection.execute(statement, values)}
