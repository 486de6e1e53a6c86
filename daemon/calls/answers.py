"""A person's answer to an approval: whose it is, whether it counts, and what it makes of the call.

Trusted with promise 3. The signature must be by the key of the answering connection's certificate,
over the statement as it was asked; the requester's own word never counts; whether this person's
does is policy's question. What follows happens in one transaction: `daemon.calls.settlement`. Who
may not see an approval learns nothing from answering it. Raises the daemon's faults.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType

from daemon.calls.asked import Asked, ruled
from daemon.calls.engine import Calls
from daemon.calls.judge import may_approve
from daemon.calls.live import LiveCall
from daemon.calls.settlement import (
    WATCH,
    Answer,
    Giving,
    Settlement,
    Settling,
    damaged,
    not_pending,
    replaced,
    tampered,
    void,
)
from daemon.calls.signatures import verifies
from daemon.calls.unsure import Unsure
from daemon.errors import BadRequest, Hidden, Refused, RefusedByPolicy
from daemon.permission import Permission
from daemon.principal import Principal
from daemon.store import approvals, calls
from daemon.store.approvals import ApprovalRow, ApprovalState
from daemon.store.calls import CallRow
from daemon.store.commit import Tx
from daemon.store.faults import StoreFault
from daemon.store.ids import ApprovalId
from daemon.store.leases import LeaseRow
from daemon.store.reader import Reader
from daemon.store.writer import Writer
from ledger.chain import Entry
from stockade.statement import answer_bytes

MAX_REASON_CHARACTERS = 500


class Answers:
    """See the module."""

    def __init__(
        self,
        *,
        calls: Calls,
        settling: Settling,
        permission: Permission,
        reader: Reader,
        writer: Writer,
        changed: Callable[[str], None],
        unsure: Unsure,
        lease: Callable[[Answer, LiveCall], Giving | None],
        leased: Callable[[LeaseRow], None],
        until_examined: Callable[[], Awaitable[None]],
    ) -> None:
        self._calls = calls
        self._settling = settling
        self._permission = permission
        self._reader = reader
        self._writer = writer
        self._changed = changed
        self._unsure = unsure
        self._lease = lease
        self._leased = leased
        self._until_examined = until_examined

    async def give(self, answer: Answer) -> Entry:
        """Records an answer; the receipt of it."""
        _check_form(answer)
        await self._until_examined()  # else an approval just after a start would find no tier
        row, call = await self._find(answer)
        if row.state is not ApprovalState.PENDING:
            raise not_pending(row.state)
        # A device may answer for its agent, if policy lets it: the agent asked, not the device.
        if str(answer.principal) == call.principal:
            raise Refused(
                "the requester cannot answer for its own call",
                code="SELF_APPROVAL",
                fix="another paired device has to answer",
            )
        _check_signature(answer, row)
        live = await self._calls.attach(str(row.call_id))
        if live is None:
            raise not_pending(None)
        try:
            if live.statement is None or live.settled.is_set():
                raise not_pending(None)
            future = self._submit(answer, row, live)
        except BaseException:
            live.release()
            raise
        return (await asyncio.shield(future)).entry

    async def _find(self, answer: Answer) -> tuple[ApprovalRow, CallRow]:
        """The approval and its call; what the asker may not see is as what is not there."""
        asked = ApprovalId(answer.approval_id)
        row = await self._reader.read(lambda c: approvals.get(c, asked))
        if row is None:
            raise unknown_approval()
        call_id = row.call_id
        call = await self._reader.read(lambda c: calls.get(c, call_id))
        if call is None:
            raise unknown_approval()
        if str(answer.principal) != call.principal:
            try:
                self._permission.require(answer.principal, "get_approval")
            except RefusedByPolicy as refused:
                raise unknown_approval(refused.ruled) from None
        return row, call

    def _submit(
        self, answer: Answer, row: ApprovalRow, live: LiveCall
    ) -> "asyncio.Future[Settlement]":
        """Hands it to the writer, with what is done once it is durable."""
        operation, proposed = self._operation(answer, row, live), list[Settlement]()

        def proposing(tx: Tx) -> Settlement:
            proposed[:] = [operation(tx)]
            return proposed[0]

        future = self._writer.submit(proposing)
        # The callback runs whatever becomes of this RPC: what was recorded is applied.
        future.add_done_callback(lambda done: self._apply(live, answer.approval_id, done, proposed))
        return future

    def _operation(
        self, answer: Answer, row: ApprovalRow, live: LiveCall
    ) -> Callable[[Tx], Settlement]:
        settling = self._settling
        if damaged(row, live):
            ended = tampered(live.verdict)
        elif replaced(settling.worlds, live):
            ended = void(live.verdict)
        else:
            asked = self._check_permission(answer, live)
            lease = self._lease(answer, live)
            return lambda tx: settling.settle(tx, answer, row, live, asked, lease)
        return lambda tx: settling.end(tx, row, live, ended)

    def _check_permission(self, answer: Answer, live: LiveCall) -> dict[str, object]:
        """Policy's yes to this answer, as its receipt has it."""
        world, asked = self._settling.worlds.current, list[Asked]()
        decision = may_approve(
            world,
            live.judged,
            live.verdict,
            self._settling.clock.now(),
            answer.principal,
            live.shown.created_ms,
            lambda question, given: asked.append(Asked.of(question, given)),
        )
        told = ruled(world.digest, asked)
        if not decision.allowed:
            raise _may_not(answer.principal, told)
        return told

    def _apply(
        self,
        live: LiveCall,
        approval_id: str,
        done: "asyncio.Future[Settlement]",
        proposed: Sequence[Settlement],
    ) -> None:
        try:
            error = None if done.cancelled() else done.exception()
            if isinstance(error, StoreFault) and proposed:
                self._unsure.find_out(live, proposed[0])
            elif not done.cancelled() and error is None:
                result = done.result()
                if result.lease is not None:
                    self._leased(result.lease)
                result.apply(live)
                self._changed(approval_id)
        finally:
            live.release()


def unknown_approval(told: Mapping[str, object] = MappingProxyType({})) -> Hidden:
    """The one answer for what does not exist and may not be seen; `told` is for the receipt."""
    fault = Hidden("there is no such approval", code="UNKNOWN_APPROVAL", fix=WATCH)
    fault.ruled = told
    return fault


def _check_form(answer: Answer) -> None:
    if answer.principal.name.kind != "device":
        raise Refused(
            "an agent answers for no call",
            code="AGENT_CANNOT_APPROVE",
            fix="a person has to answer, on a paired device",
        )
    if len(answer.reason) > MAX_REASON_CHARACTERS:
        raise BadRequest(
            f"a reason has at most {MAX_REASON_CHARACTERS} characters",
            code="REASON_TOO_LONG",
            fix="say it shorter",
        )


def _check_signature(answer: Answer, row: ApprovalRow) -> None:
    message = answer_bytes(row.statement, approve=answer.approve, reason=answer.reason)
    if not verifies(answer.principal.certificate, answer.signature, message):
        raise BadRequest(
            "the signature is not by this device's key over this approval and answer",
            code="BAD_SIGNATURE",
            fix="answer with `stockade approvals`; if it is up to date, pair the device again",
        )


def _may_not(principal: Principal, told: Mapping[str, object]) -> Refused:
    return RefusedByPolicy(
        f"policy does not let {principal.device_name} answer for this call",
        ruled=told,
        code="MAY_NOT_APPROVE",
        fix="an owner can change the device's groups or the policy",
    )
