"""Evidence for somebody who trusts nobody here: receipts, their proofs, and what they name.

Trusted to give all receipts of what was asked for, under a checkpoint that is signed for it, and to
leave a receipt of its own first: whoever took evidence of what is in the ledger. Reads a page at a
time; what it remembers of them is bounded, by how many there may be. Raises `NotFound`,
`BadRequest`, `CheckpointFault` and StoreFault.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from sqlalchemy import Connection

from daemon.errors import BadRequest, NotFound
from daemon.leases.book import name_of
from daemon.ledger.book import Book
from daemon.ledger.evidence_documents import Document, Documents, Wanted, wanted_by
from daemon.store import approvals, receipt_search, receipts
from daemon.store.ids import CallId, LeaseId
from daemon.store.leases import get as get_lease
from daemon.store.reader import Reader
from daemon.store.receipts import ReceiptRow
from ledger import evidence
from ledger.evidence import Name, Subject
from ledger.export import encode_line, parse_line
from ledger.receipt import Receipt

PAGE = 200
# What they name is remembered until the last of them: up to 1 kB each.
MOST_RECEIPTS = 100_000


@dataclass(frozen=True, slots=True)
class EvidencePacks:
    """See the module."""

    book: Book
    reader: Reader
    # The copies of tools, by digest.
    tools: Path
    most: int = MOST_RECEIPTS

    async def lines(self, subject: Subject) -> AsyncIterator[bytes]:
        """The evidence of a call, a lease or a period, a line at a time."""
        chain = self.book.chain
        row = await self.book.checkpoints.take()
        numbers = await self.reader.read(lambda c: _numbers(c, chain, subject, row.size))
        if not numbers:
            raise NotFound(
                "the ledger has no receipt of that",
                code="NO_SUCH_RECEIPTS",
                fix="`stockade ledger tail` shows what there is",
            )
        if len(numbers) > self.most:
            raise BadRequest(
                f"that is {len(numbers)} receipts; evidence has at most {self.most}",
                code="EVIDENCE_TOO_LARGE",
                fix="take it of shorter periods; `stockade ledger export` has everything",
            )
        keys = self.book.public_keys.decode()
        yield evidence.head_line(chain, subject, row.note, keys)
        told = _Told()
        for at in range(0, len(numbers), PAGE):
            page = numbers[at : at + PAGE]
            rows = await self.reader.read(partial(_rows, chain=chain, numbers=page))
            proofs = await self.book.checkpoints.tree.inclusions(page, row.size)
            for found, proof in zip(rows, proofs, strict=True):
                yield evidence.entry_line(found.entry, proof)
                told.add(parse_line(encode_line(found.entry)).receipt)
        documents: set[str] = set()
        for wanted in told.wanted:
            for digest, document in await self._documents(wanted, told.named):
                if digest not in documents:
                    documents.add(digest)
                    yield evidence.document_line(document)
        yield evidence.end_line(len(numbers), len(documents))

    async def _documents(self, wanted: Wanted, named: set[Name]) -> list[tuple[str, Document]]:
        return await self.reader.read(lambda c: list(Documents(c, self.tools).find(wanted, named)))


@dataclass(slots=True)
class _Told:
    """What the entries so far name."""

    named: set[Name] = field(default_factory=set)
    wanted: dict[Wanted, None] = field(default_factory=dict)  # in order

    def add(self, receipt: Receipt) -> None:
        self.named |= evidence.names([receipt])
        self.wanted.update(dict.fromkeys(wanted_by(receipt)))


def _numbers(connection: Connection, chain: str, subject: Subject, size: int) -> Sequence[int]:
    """The receipts of a subject, up to the checkpoint's size."""
    if "from" in subject:
        # One before and one after: so it can be seen that nothing between them is missing.
        first = receipt_search.first_from(connection, chain, subject["from"])
        after = receipt_search.first_from(connection, chain, _next(subject["to"]))
        return range(max(1, first - 1), min(after, size) + 1)
    found: set[int] = set()
    calls = [CallId(subject["call"])] if "call" in subject else []
    if "lease" in subject:
        name = name_of(subject["lease"])
        found.update(receipt_search.of_name(connection, chain, name))
        calls += receipt_search.calls_of_name(connection, chain, name)
        lease = get_lease(connection, LeaseId(subject["lease"]))
        asked = None if lease is None else approvals.get(connection, lease.approval_id)
        calls += [asked.call_id] if asked is not None else []
    for call_id in calls:
        found.update(receipt_search.of_call(connection, chain, call_id))
    return sorted(number for number in found if number <= size)


def _next(time: str) -> str:
    """Text that sorts right after a time: receipts of that very time come before it."""
    return time + "~"


def _rows(connection: Connection, chain: str, numbers: Sequence[int]) -> list[ReceiptRow]:
    return [
        row
        for number in numbers
        for row in receipts.page(connection, chain, after=number - 1, limit=1)
    ]
