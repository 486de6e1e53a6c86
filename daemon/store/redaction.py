"""What has the true arguments of calls of which only a redacted copy stays: statements and leases.

Trusted to find them once nobody needs them: the call has ended, and no lease that was given with it
is in force. Functions over a connection; the caller's transaction decides. Leaves: StoreFault.
"""

from typing import Final

from sqlalchemy import Connection, bindparam, exists, select

from daemon.lifecycle import ENDS
from daemon.store import shares
from daemon.store.approvals import ApprovalState
from daemon.store.leases import LeaseState
from daemon.store.retention import BATCH, Pruned
from daemon.store.tables import approvals, calls, leases

_LEFT: Final = (
    select(approvals.c.call_id)
    .distinct()
    .join(calls, calls.c.call_id == approvals.c.call_id)
    .where(calls.c.redacted.is_not(None), calls.c.state.in_(ENDS))
    .where(approvals.c.state != ApprovalState.PENDING)
    .where(
        ~exists().where(
            leases.c.approval_id == approvals.c.approval_id, leases.c.state == LeaseState.ACTIVE
        )
    )
    .limit(bindparam("b_limit"))
)


def left(connection: Connection, *, limit: int = BATCH) -> list[str]:
    """Calls of which something is left that is not redacted."""
    return [str(one) for one in connection.execute(_LEFT, {"b_limit": limit}).scalars()]


def take(connection: Connection, call_ids: list[str], before_ms: int) -> Pruned:
    """Take what is left of these."""
    ended, settled, size = shares.asked_about(connection, call_ids)
    return Pruned(0, settled, ended, size, before_ms)
