"""Which devices were given which approval, and when first.

Functions over a connection; the caller's transaction decides. Leaves: StoreFault.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Final

from sqlalchemy import Connection, bindparam, select

from daemon.store.engine import insertion_once
from daemon.store.ids import ApprovalId, DeviceId
from daemon.store.prepared import Prepared
from daemon.store.tables import approval_shown

_NOTE: Final = Prepared(insertion_once(approval_shown))
_TO: Final = (
    select(approval_shown)
    .where(approval_shown.c.approval_id.in_(bindparam("b_ids", expanding=True)))
    .order_by(approval_shown.c.time_ms, approval_shown.c.device_id)
)


@dataclass(frozen=True, slots=True)
class ShownRow:
    """One device that was given one approval."""

    approval_id: ApprovalId
    device_id: DeviceId
    time_ms: int


def show(connection: Connection, row: ShownRow) -> bool:
    """Note it; whether it is the first time."""
    return _NOTE.run(connection, asdict(row)) == 1


def to(
    connection: Connection, approval_ids: Sequence[ApprovalId]
) -> dict[ApprovalId, tuple[ShownRow, ...]]:
    """To whom each of these was shown, in the order it was; at most a page of them."""
    found: dict[ApprovalId, tuple[ShownRow, ...]] = {}
    for values in connection.execute(_TO, {"b_ids": list(approval_ids)}).mappings():
        row = ShownRow(**values)
        found[row.approval_id] = (*found.get(row.approval_id, ()), row)
    return found
