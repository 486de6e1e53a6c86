"""Nobody has answered for a while: whoever may answer by now is told, once for each approval.

Who that is says policy (`context.waited` of `approve`); this only makes sure that it is heard of:
the caller is told anew who may answer, those who watch get the approval again, and the ledger says
so. Trusted to forget none, also of the calls that wait in the database alone and across restarts.
Raises nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from daemon.calls.engine import Calls
from daemon.calls.live import LiveCall
from daemon.calls.tell import tell_waiting
from daemon.calls.waiting import WhoMayApprove
from daemon.clock import Clock
from daemon.errors import Fault
from daemon.lifecycle import State
from daemon.store import approvals
from daemon.store.approvals import ApprovalRow
from daemon.store.commit import Tx
from daemon.store.reader import Reader
from daemon.store.writer import Writer
from daemon.ticks import tick

_log = structlog.get_logger("stockade.calls")

TICK_SECONDS = 0.5
MOST_SECONDS = 2.0
BATCH = 100


@dataclass(frozen=True, slots=True)
class Escalation:
    """See the module. After 0 seconds means never."""

    calls: Calls
    reader: Reader
    writer: Writer
    clock: Clock
    after_seconds: int
    who_may_approve: WhoMayApprove
    changed: Callable[[str], None]

    async def keep(self) -> None:
        """For as long as the daemon runs."""
        while self.after_seconds:
            await tick(min(max(TICK_SECONDS, self.after_seconds / 20), MOST_SECONDS))
            try:
                await self._escalate_due()
            except Fault as fault:
                _log.error("approvals.not_escalated", reason=fault.code)

    async def _escalate_due(self) -> None:
        before = self.clock.now_ms() - self.after_seconds * 1000
        due = await self.reader.read(
            lambda c: approvals.unescalated(c, before_ms=before, limit=BATCH)
        )
        for row in due:
            live = await self.calls.attach(str(row.call_id))
            if live is None:
                continue  # it ends, or has just
            try:
                await self._escalate(row, live)
            finally:
                live.release()

    async def _escalate(self, row: ApprovalRow, live: LiveCall) -> None:
        if live.state is not State.PENDING_APPROVAL or live.statement is None:
            return
        now, may_answer = self.clock.now_ms(), self.who_may_approve(live)
        body = {
            "call": live.call_id,
            "approval": str(row.approval_id),
            "after_seconds": self.after_seconds,
            "may_answer": may_answer,
        }

        def operation(tx: Tx) -> bool:
            if not approvals.escalate(tx.connection, row.approval_id, now_ms=now):
                return False
            principal = str(live.principal)
            tx.receipt("approval.escalated", body, call_id=row.call_id, principal=principal)
            return True

        if await self.writer.write(operation):
            if live.state is State.PENDING_APPROVAL:
                tell_waiting(live, may_answer, now)
            self.changed(str(row.approval_id))
