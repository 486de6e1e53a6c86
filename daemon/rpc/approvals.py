"""ApprovalService: what waits for a human, and the human's answer."""

from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from functools import partial
from itertools import accumulate

from sqlalchemy import Connection

from daemon.calls.answers import Answers, unknown_approval
from daemon.calls.board import Board
from daemon.calls.settlement import Answer
from daemon.calls.showing import show
from daemon.calls.tell import receipt
from daemon.foundation import Foundation
from daemon.identity.devices import Devices
from daemon.principal import current_principal
from daemon.rpc.convert import approval_to_proto, page_size, parse_approval_cursor
from daemon.rpc.faults import Context
from daemon.store import approvals, showings
from daemon.store.approvals import AnswerRow, ApprovalRow, ApprovalState, Cursor
from daemon.store.ids import ApprovalId
from daemon.store.showings import ShownRow
from stockade.v1 import approval_pb2, approval_pb2_grpc

DEFAULT_PAGE = 100
# Half of what a client takes: a few callers with large arguments must not hide every call.
MAX_LISTED_BYTES = 8 * 1024 * 1024

_Found = tuple[ApprovalRow, tuple[AnswerRow, ...], tuple[ShownRow, ...]]


class ApprovalService(approval_pb2_grpc.ApprovalServiceServicer):
    """See proto/stockade/v1/approval.proto. It is recorded who is shown what waits, then shown."""

    def __init__(self, answers: Answers, board: Board, devices: Devices, base: Foundation) -> None:
        self._answers = answers
        self._board = board
        self._devices = devices
        self._reader = base.reader
        self._writer = base.writer
        self._clock = base.clock

    async def ListApprovals(
        self, request: approval_pb2.ListApprovalsRequest, context: Context
    ) -> approval_pb2.ListApprovalsResponse:
        limit = page_size(request.page_size, DEFAULT_PAGE)
        query = approvals.latest if request.all else approvals.pending
        after = parse_approval_cursor(request.page_token)

        def read(connection: Connection) -> tuple[list[_Found], bool]:
            rows = query(connection, limit=limit, after=after)
            fitting = _fitting(rows)
            more = len(rows) == limit or len(fitting) < len(rows)
            return _with_answers(connection, fitting), more

        found, more = await self._reader.read(read)
        found = await self._shown(found)
        return approval_pb2.ListApprovalsResponse(
            approvals=[self._proto(one) for one in found],
            next_page_token=_token(found[-1][0]) if more and found else "",
        )

    async def GetApproval(
        self, request: approval_pb2.GetApprovalRequest, context: Context
    ) -> approval_pb2.GetApprovalResponse:
        found = await self._get([request.approval_id])
        if not found:
            raise unknown_approval()
        [one] = await self._shown(found)
        asked = one[0].approval_id
        approval = self._proto(one)
        approval.lease_terms = await self._reader.read(lambda c: approvals.lease_offered(c, asked))
        return approval_pb2.GetApprovalResponse(approval=approval)

    async def WatchApprovals(
        self, request: approval_pb2.WatchApprovalsRequest, context: Context
    ) -> AsyncIterator[approval_pb2.ApprovalEvent]:
        async with aclosing(self._board.watch()) as news:
            await anext(news)
            async for found in self._pending():
                yield approval_pb2.ApprovalEvent(approval=self._proto(found))
            async for ids in news:
                for found in await self._shown(await self._get(ids)):
                    yield approval_pb2.ApprovalEvent(approval=self._proto(found))

    async def _pending(self) -> AsyncIterator[_Found]:
        """All that wait, a page at a time: what comes meanwhile is news besides."""
        after: Cursor | None = None
        while page := await self._reader.read(partial(_pending_page, after=after)):
            for found in await self._shown(page):
                yield found
            after = Cursor(page[-1][0].created_ms, str(page[-1][0].approval_id))

    async def AnswerApproval(
        self, request: approval_pb2.AnswerApprovalRequest, context: Context
    ) -> approval_pb2.AnswerApprovalResponse:
        entry = await self._answers.give(
            Answer(
                approval_id=request.approval_id,
                approve=request.approve,
                reason=request.reason,
                signature=request.signature,
                lease_terms=request.lease_terms,
                lease_signature=request.lease_signature,
                principal=current_principal(),
            )
        )
        found = await self._get([request.approval_id])
        return approval_pb2.AnswerApprovalResponse(
            approval=self._proto(found[0]), receipt=receipt(entry)
        )

    async def _get(self, ids: Sequence[str]) -> list[_Found]:
        def read(connection: Connection) -> list[_Found]:
            rows = (approvals.get(connection, ApprovalId(one)) for one in ids)
            return _with_answers(connection, [row for row in rows if row is not None])

        return await self._reader.read(read)

    async def _shown(self, found: Sequence[_Found]) -> list[_Found]:
        """The same, once it is recorded that whoever asks is shown those that wait."""
        principal, now = current_principal(), self._clock.now_ms()
        new = [
            row
            for row, _, shown in found
            if row.state is ApprovalState.PENDING
            and not any(str(one.device_id) == principal.device_id for one in shown)
        ]
        if not new:
            return list(found)
        noted = await self._writer.write(lambda tx: show(tx, new, principal, now))
        more = {one.approval_id: one for one in noted}
        return [
            (row, answers, (*shown, more[row.approval_id]) if row.approval_id in more else shown)
            for row, answers, shown in found
        ]

    def _proto(self, found: _Found) -> approval_pb2.Approval:
        return approval_to_proto(*found, self._devices.name)


def _pending_page(connection: Connection, after: Cursor | None) -> list[_Found]:
    rows = _fitting(approvals.pending(connection, limit=DEFAULT_PAGE, after=after))
    return _with_answers(connection, rows)


def _token(row: ApprovalRow) -> str:
    return f"{row.created_ms}/{row.approval_id}"


def _fitting(rows: Sequence[ApprovalRow]) -> list[ApprovalRow]:
    """The first of them, at least one, that a client's largest message has room for."""
    sizes = accumulate(len(row.statement) for row in rows)
    return [
        row
        for number, (row, size) in enumerate(zip(rows, sizes, strict=True))
        if number == 0 or size <= MAX_LISTED_BYTES
    ]


def _with_answers(connection: Connection, rows: Sequence[ApprovalRow]) -> list[_Found]:
    ids = [row.approval_id for row in rows]
    answers, shown = approvals.answers_to(connection, ids), showings.to(connection, ids)
    return [(row, answers.get(row.approval_id, ()), shown.get(row.approval_id, ())) for row in rows]
