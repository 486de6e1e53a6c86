"""What a start finds of the last run: calls that died under the daemon, and calls that still wait.

Everything found is recorded before the first RPC is served. A call that ran, or may have, is marked
interrupted, once. One that waits for a human goes on waiting if its caller asked to detach; nobody
is attached to the others, so they are cancelled, as they would have been when their caller went.
"""

from dataclasses import dataclass

import structlog

from daemon.calls import records
from daemon.calls.engine import Calls
from daemon.calls.feed import Feed
from daemon.calls.hearing import Ruling
from daemon.calls.judge import Candidate, Verdict, judge
from daemon.calls.live import LiveCall
from daemon.clock import Clock
from daemon.config import Config
from daemon.devices import Devices
from daemon.errors import Unauthenticated
from daemon.lifecycle import Event, State
from daemon.principal import Principal
from daemon.store import approvals, calls
from daemon.store.approvals import ApprovalRow, ApprovalState
from daemon.store.calls import CallRow
from daemon.store.commit import Tx
from daemon.store.reader import Reader
from daemon.store.writer import Writer
from daemon.tools.arguments import parse_arguments
from daemon.tools.errors import ToolError
from daemon.worlds import Worlds
from policy.risk import Tier
from stockade.statement import Statement, StatementError, parse_statement

_log = structlog.get_logger("stockade.recovery")


@dataclass(frozen=True, slots=True)
class Recovery:
    """See the module."""

    config: Config
    worlds: Worlds
    devices: Devices
    reader: Reader
    writer: Writer
    clock: Clock
    calls: Calls

    async def run(self) -> None:
        """Finds, records, takes up."""
        for row in await self.reader.read(calls.unfinished):
            if row.state is State.PENDING_APPROVAL:
                await self._pending(row)
            else:
                await self._record(row, Event.INTERRUPT, "DAEMON_DIED")

    async def _pending(self, row: CallRow) -> None:
        asked = await self.reader.read(lambda c: approvals.of_call(c, row.call_id))
        waiting = [one for one in asked if one.state is ApprovalState.PENDING]
        if not row.detach or not waiting:
            await self._withdraw(row, waiting, "DAEMON_RESTARTED")
            return
        live = self._again(row, waiting[0])
        if live is None:
            await self._withdraw(row, waiting, "DAEMON_RESTARTED")
        else:
            self.calls.take_up(live)

    def _again(self, row: CallRow, approval: ApprovalRow) -> LiveCall | None:
        """The call as it was, if it still can be what its approvers were shown."""
        world = self.worlds.current
        tool = world.registry.get(row.tool)
        try:
            statement = parse_statement(approval.statement)
            principal = self.devices.of_call(row.principal, str(row.device_id), row.origin)
            parsed = parse_arguments(row.arguments)
        except (StatementError, Unauthenticated, ToolError) as error:
            _log.warning("call.not_taken_up", call=row.call_id, reason=type(error).__name__)
            return None
        if tool is None or principal is None or statement.call.digest() != row.digest:
            return None
        if tool.digest != statement.call.tool_digest:
            return None
        candidate = Candidate(principal, tool, parsed)
        return self._live(row, statement, candidate, principal)

    def _live(
        self, row: CallRow, statement: Statement, candidate: Candidate, principal: Principal
    ) -> LiveCall:
        now = judge(self.worlds.current, candidate, self.clock.now())
        verdict = Verdict(
            Ruling.ASK,
            "APPROVAL_REQUIRED",
            "policy wants a human's yes",
            risk=now.risk,
            risk_milli=statement.risk_milli,
            # Not today's: policy that forbids the call by now gives it no tier at all.
            tier=Tier.parse_label(statement.call.tier),
            # As it was shown: if today's call differs, its approval will be void.
            exact=statement.call,
            policy_digest=statement.call.policy_digest,
        )
        return LiveCall(
            call_id=str(row.call_id),
            tool=row.tool,
            principal=principal,
            arguments=row.arguments,
            detach=True,
            state=State.PENDING_APPROVAL,
            verdict=verdict,
            feed=Feed(self.config.calls.retain_output_kib * 1024),
            candidate=candidate,
            statement=statement,
        )

    async def _withdraw(self, row: CallRow, waiting: list[ApprovalRow], reason: str) -> None:
        now = self.clock.now_ms()

        def operation(tx: Tx) -> None:
            for one in waiting:
                state = ApprovalState.WITHDRAWN
                approvals.settle(tx.connection, one.approval_id, state, now_ms=now)
            records.move_stored(tx, row, Event.CANCEL, reason, now)

        await self.writer.write(operation)

    async def _record(self, row: CallRow, event: Event, reason: str) -> None:
        now = self.clock.now_ms()
        await self.writer.write(lambda tx: records.move_stored(tx, row, event, reason, now))
        _log.warning("call.interrupted", call=row.call_id, tool=row.tool)
