"""LedgerService: receipts, to be verified and not believed."""

from collections.abc import AsyncIterator

from daemon.calls.tell import receipt
from daemon.errors import BadRequest, Conflict
from daemon.ledger.book import Book
from daemon.ledger.evidence_pack import EvidencePacks
from daemon.ledger.rotation import LedgerRotation
from daemon.ledger.witness import Witness
from daemon.principal import current_principal
from daemon.rpc.convert import page_size, parse_call_id, parse_number_token
from daemon.rpc.faults import Context
from daemon.store.receipt_search import Wanted
from daemon.store.writer import Writer
from ledger.canonical import MAX_INTEGER
from ledger.errors import ReceiptError
from ledger.evidence import Subject
from ledger.receipt import parse_time
from stockade.v1 import call_pb2, ledger_pb2, ledger_pb2_grpc

DEFAULT_PAGE = 50
# Of evidence in one message: a policy state is one line, and may be large.
PIECE = 1024 * 1024
MAX_KINDS = 32


class LedgerService(ledger_pb2_grpc.LedgerServiceServicer):
    """See proto/stockade/v1/ledger.proto."""

    def __init__(
        self,
        book: Book,
        writer: Writer,
        packs: EvidencePacks,
        witness: Witness,
        rotation: LedgerRotation,
    ) -> None:
        self._book = book
        self._witness = witness
        self._writer = writer
        self._packs = packs
        self._rotation = rotation

    async def ReadLedger(
        self, request: ledger_pb2.ReadLedgerRequest, context: Context
    ) -> ledger_pb2.ReadLedgerResponse:
        limit = page_size(request.page_size, DEFAULT_PAGE)
        if request.call_id:
            if request.HasField("filter"):
                raise _bad_filter("a call's receipts are not filtered")
            rows = await self._book.of_call(parse_call_id(request.call_id), limit)
            return ledger_pb2.ReadLedgerResponse(receipts=[receipt(row.entry) for row in rows])
        before = parse_number_token(request.page_token) or self._book.sequence + 1
        page = await self._book.before(_wanted(request.filter), before, limit)
        return ledger_pb2.ReadLedgerResponse(
            receipts=[receipt(row.entry) for row in page.rows],
            next_page_token=str(page.reached) if page.reached > 1 else "",
        )

    async def FollowLedger(
        self, request: ledger_pb2.FollowLedgerRequest, context: Context
    ) -> AsyncIterator[call_pb2.Receipt]:
        async for row in self._book.follow(_wanted(request.filter), _after(request)):
            yield receipt(row.entry)

    async def ExportLedger(
        self, request: ledger_pb2.ExportLedgerRequest, context: Context
    ) -> AsyncIterator[ledger_pb2.ExportLedgerResponse]:
        principal, wanted = str(current_principal()), _wanted(request.filter)
        after = _after(request)
        body = {
            "principal": principal,
            "through": self._book.sequence,
            **({"after": after} if after else {}),
        }
        await self._writer.write(
            lambda tx: tx.receipt("ledger.exported", body, principal=principal)
        )
        async for lines, through in self._book.lines(wanted, after):
            yield ledger_pb2.ExportLedgerResponse(lines=lines, through=through)

    async def ExportEvidence(
        self, request: ledger_pb2.ExportEvidenceRequest, context: Context
    ) -> AsyncIterator[ledger_pb2.ExportEvidenceResponse]:
        principal, subject = str(current_principal()), _subject(request)
        body = {"principal": principal, "subject": dict(subject)}
        await self._writer.write(
            lambda tx: tx.receipt("ledger.evidence_exported", body, principal=principal)
        )
        async for line in self._packs.lines(subject):
            for at in range(0, len(line), PIECE):
                yield ledger_pb2.ExportEvidenceResponse(data=line[at : at + PIECE])

    async def CheckpointLedger(
        self, request: ledger_pb2.CheckpointLedgerRequest, context: Context
    ) -> ledger_pb2.CheckpointLedgerResponse:
        if self._book.sequence == 0:
            raise Conflict("the ledger is empty", code="LEDGER_EMPTY", fix="call a tool first")
        row, since = await self._book.checkpoints.take(), request.since_size
        if since > row.size:
            raise Conflict(
                f"the ledger has {row.size} receipts, and never had {since}",
                code="ROLLED_BACK",
                fix="find out who put an older ledger back; keep the checkpoint you have",
            )
        proof = await self._book.checkpoints.tree.consistency(since, row.size)
        return ledger_pb2.CheckpointLedgerResponse(checkpoint=row.note, consistency=proof)

    async def CountersignCheckpoint(
        self, request: ledger_pb2.CountersignCheckpointRequest, context: Context
    ) -> ledger_pb2.CountersignCheckpointResponse:
        found = await self._witness.countersign(
            request.chain,
            request.checkpoint,
            request.since_size,
            request.consistency,
            str(current_principal()),
            request.keys,
        )
        return ledger_pb2.CountersignCheckpointResponse(size=found.size, cosignature=found.note)

    async def RotateLedgerKeys(
        self, request: ledger_pb2.RotateLedgerKeysRequest, context: Context
    ) -> ledger_pb2.RotateLedgerKeysResponse:
        entry = await self._rotation.rotate(str(current_principal()))
        return ledger_pb2.RotateLedgerKeysResponse(
            receipt=receipt(entry), keys=self._book.public_keys
        )

    async def GetLedgerKeys(
        self, request: ledger_pb2.GetLedgerKeysRequest, context: Context
    ) -> ledger_pb2.GetLedgerKeysResponse:
        return ledger_pb2.GetLedgerKeysResponse(keys=self._book.public_keys)


def _subject(request: ledger_pb2.ExportEvidenceRequest) -> Subject:
    match request.WhichOneof("subject"):
        case "call_id":
            return {"call": parse_call_id(request.call_id)}
        case "lease_id":
            return {"lease": parse_call_id(request.lease_id)}
        case "period":
            start, end = request.period.begin, request.period.end
            try:
                if parse_time(start) <= parse_time(end):
                    return {"from": start, "to": end}
            except ReceiptError:
                pass
    raise BadRequest(
        "a call, a lease, or a period with its beginning before its end",
        code="NO_SUBJECT",
        fix="name one; times are RFC 3339, UTC, milliseconds and Z",
    )


def _after(asked: ledger_pb2.FollowLedgerRequest | ledger_pb2.ExportLedgerRequest) -> int:
    """The receipt to begin after; a number that no receipt can have is none."""
    if asked.after_sequence > MAX_INTEGER:
        raise _bad_filter("after_sequence is more than a receipt's number can be")
    return asked.after_sequence


def _wanted(asked: ledger_pb2.ReceiptFilter) -> Wanted:
    try:
        for time in (asked.since, asked.until):
            if time:
                parse_time(time)
    except ReceiptError:
        raise _bad_filter("a time is not in the form that receipts have") from None
    if len(asked.kinds) > MAX_KINDS:
        raise _bad_filter(f"more than {MAX_KINDS} kinds")
    return Wanted(asked.principal, asked.tool, tuple(asked.kinds), asked.since, asked.until)


def _bad_filter(message: str) -> BadRequest:
    return BadRequest(message, code="BAD_FILTER", fix="`stockade ledger tail --help` has examples")
