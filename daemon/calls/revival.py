"""A call that waits in the database, as it was when people were asked about it.

Trusted to give back exactly what they were shown: the statement is the one that the signed receipt
of the asking names, whatever the row beside it says by now. Where the call's tool has gone or
changed there is nothing to judge any more, and an answer will find its approval void. Raises the
store's faults.
"""

import hashlib
from dataclasses import dataclass

from daemon.calls.feed import Feed
from daemon.calls.hearing import Ruling
from daemon.calls.judge import Candidate, Verdict, risk_inputs
from daemon.calls.live import LiveCall
from daemon.contents.kept import Kept
from daemon.evidence import attested
from daemon.identity.devices import Devices
from daemon.lifecycle import State
from daemon.principal import Principal
from daemon.store import approvals, calls, receipts
from daemon.store.approvals import ApprovalRow, ApprovalState
from daemon.store.calls import CallRow
from daemon.store.ids import CallId
from daemon.store.reader import Reader
from daemon.store.receipts import ReceiptRow
from daemon.tools.arguments import parse_arguments
from daemon.tools.errors import ToolError
from daemon.worlds import Worlds
from ledger.keys import Keys
from policy.risk import Tier
from stockade.statement import Statement, StatementError, parse_statement


class DamagedError(Exception):
    """The database says of this call what the ledger does not."""


@dataclass(frozen=True, slots=True)
class Revival:
    """See the module."""

    worlds: Worlds
    devices: Devices
    reader: Reader
    keys: Keys
    keep_bytes: int

    async def revive(self, call_id: str) -> LiveCall | None:
        """The call; None if it does not wait any more, or its caller is gone.

        Raises `DamagedError`.
        """
        chain, wanted = self.keys.chain, CallId(call_id)
        row = await self.reader.read(lambda c: calls.get(c, wanted))
        if row is None or row.state is not State.PENDING_APPROVAL:
            return None
        asked = await self.reader.read(lambda c: approvals.of_call(c, wanted))
        recorded = await self.reader.read(lambda c: receipts.by_call(c, chain, wanted))
        pending = [one for one in asked if one.state is ApprovalState.PENDING]
        if not pending:
            raise DamagedError
        statement = self._statement(row, pending[0], recorded)
        principal = self.devices.of_call(row.principal, str(row.device_id), row.origin)
        return None if principal is None else self._live(row, statement, principal)

    def _statement(
        self, row: CallRow, approval: ApprovalRow, recorded: tuple[ReceiptRow, ...]
    ) -> Statement:
        digest = hashlib.sha256(approval.statement).hexdigest()
        bodies = (attested(one.entry, self.keys) for one in recorded if _is_asking(one))
        if not any(body is not None and body["statement_digest"] == digest for body in bodies):
            raise DamagedError
        try:
            statement = parse_statement(approval.statement)
        except StatementError:
            raise DamagedError from None
        if (statement.call_id, statement.call.digest()) != (str(row.call_id), row.digest):
            raise DamagedError
        return statement

    def _live(self, row: CallRow, statement: Statement, principal: Principal) -> LiveCall:
        candidate = self._candidate(row, statement, principal)
        verdict = Verdict(
            Ruling.ASK,
            "APPROVAL_REQUIRED",
            "policy wants a human's yes",
            risk=risk_inputs(candidate.tool) if candidate else None,
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
            feed=Feed(self.keep_bytes),
            candidate=candidate,
            statement=statement,
            kept=Kept(
                "redacted" if row.salt else "full", row.redacted or b"", salt=row.salt or b""
            ),
        )

    def _candidate(
        self, row: CallRow, statement: Statement, principal: Principal
    ) -> Candidate | None:
        tool = self.worlds.current.registry.get(row.tool)
        if tool is None or tool.digest != statement.call.tool_digest:
            return None
        try:
            parsed = parse_arguments(row.arguments)
        except ToolError:
            raise DamagedError from None
        return Candidate(principal, tool, parsed)


def _is_asking(row: ReceiptRow) -> bool:
    return row.entry.kind == "approval.asked"
