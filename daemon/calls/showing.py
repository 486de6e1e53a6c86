"""An approval is shown to a person: noted and recorded before it is sent.

Trusted so that no device gets what waits for an answer without a receipt that says so, one for each
device and approval. Raises the store's faults.
"""

import hashlib
from collections.abc import Sequence

from daemon.principal import Principal
from daemon.store import showings
from daemon.store.approvals import ApprovalRow
from daemon.store.commit import Tx
from daemon.store.ids import DeviceId
from daemon.store.showings import ShownRow


def show(tx: Tx, rows: Sequence[ApprovalRow], principal: Principal, now_ms: int) -> list[ShownRow]:
    """Records that these are shown to this device; those that had not been before."""
    new = []
    for row in rows:
        shown = ShownRow(row.approval_id, DeviceId(principal.device_id), now_ms)
        if showings.show(tx.connection, shown):
            body = {
                "call": str(row.call_id),
                "approval": str(row.approval_id),
                "device": principal.device_id,
                "statement_digest": hashlib.sha256(row.statement).hexdigest(),
            }
            tx.receipt("approval.shown", body, call_id=row.call_id, principal=str(principal))
            new.append(shown)
    return new
