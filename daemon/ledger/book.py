"""Reading the ledger out: pages, export lines, checkpoints.

Receipts never change once they are durable, so pages read one after the other are as consistent as
one snapshot.
"""

from collections.abc import AsyncIterator

import anyio

from daemon.ledger.checkpoints import Checkpoints
from daemon.ledger.keys import LedgerKeys
from daemon.store import receipt_search, receipts
from daemon.store.ids import CallId
from daemon.store.reader import Reader
from daemon.store.receipt_search import Page, Wanted
from daemon.store.receipts import ReceiptRow
from daemon.store.writer import Writer
from ledger.export import encode_line

PAGE = 500
# How soon a follower sees a new receipt: memory is looked at, not the database.
FOLLOW_SECONDS = 0.2


class Book:
    """See the module."""

    def __init__(
        self, keys: LedgerKeys, reader: Reader, writer: Writer, checkpoints: Checkpoints
    ) -> None:
        self._keys = keys
        self._reader = reader
        self._writer = writer
        self.checkpoints = checkpoints

    @property
    def chain(self) -> str:
        """The chain's id."""
        return self._keys.chain

    @property
    def sequence(self) -> int:
        """The last durable receipt's number; 0 before the first."""
        head = self._writer.head
        return 0 if head is None else head.sequence

    @property
    def state(self) -> str:
        """Whether receipts can be written: "ok", or what keeps them from it."""
        fault = self._writer.fault
        return "ok" if fault is None else f"{fault.code}: {fault.message}"

    @property
    def public_keys(self) -> bytes:
        """The public key file."""
        return self._keys.text

    async def page_after(self, sequence: int, limit: int = PAGE) -> tuple[ReceiptRow, ...]:
        """Receipts that follow a number, oldest first."""
        return await self._reader.read(
            lambda c: receipts.page(c, self.chain, after=sequence, limit=limit)
        )

    async def of_call(self, call_id: CallId, limit: int) -> tuple[ReceiptRow, ...]:
        """The receipts of a call, oldest first."""
        return await self._reader.read(
            lambda c: receipts.by_call(c, self.chain, call_id, limit=limit)
        )

    async def before(self, wanted: Wanted, number: int, limit: int) -> Page:
        """Receipts before a number, newest first."""
        return await self._reader.read(
            lambda c: receipt_search.backwards(c, self.chain, wanted, number, limit)
        )

    async def lines(self, wanted: Wanted, after: int = 0) -> AsyncIterator[tuple[bytes, int]]:
        """The export's lines after a number, up to the head at the beginning; and how far."""
        end = self.sequence
        while after < end:
            page = await self._after(wanted, after, min(PAGE, end - after))
            after = min(page.reached, end)
            lines = [encode_line(row.entry) for row in page.rows if row.entry.sequence <= end]
            yield b"".join(lines), after

    async def follow(self, wanted: Wanted, after: int) -> AsyncIterator[ReceiptRow]:
        """Receipts as they become durable."""
        position = after or self.sequence
        while True:
            if self.sequence <= position:
                await anyio.sleep(FOLLOW_SECONDS)
                continue
            page = await self._after(wanted, position, PAGE)
            for row in page.rows:
                yield row
            # A period that is over has no more: what comes is later still.
            position = page.reached if page.reached > position else self.sequence

    async def _after(self, wanted: Wanted, after: int, limit: int) -> Page:
        if wanted.anything:
            rows = await self.page_after(after, limit)
            return Page(rows, rows[-1].entry.sequence if rows else after)
        page = await self._reader.read(
            lambda c: receipt_search.forwards(c, self.chain, wanted, after, limit)
        )
        if page.reached > after or page.rows:
            return page
        return Page((), self.sequence)  # beyond the period there is nothing
