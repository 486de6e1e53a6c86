"""The end of the ledger, looked at before anything is added to it.

What a checkpoint covers, its root vouches for; what came after the last one, nothing does yet.
Trusted to find whatever of it is not what was signed, or not in its place: the next checkpoint
would vouch for it. Looks at a bounded part. Raises StartError and StoreFault.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final

import anyio.to_thread

from daemon.errors import StartError
from daemon.store import receipts
from daemon.store.reader import Reader
from daemon.store.receipts import ReceiptRow
from ledger.authentic import Inauthentic, Link, link_of, succession
from ledger.authentic import Reader as LineReader
from ledger.export import encode_line
from ledger.keys import Keys

BAD_ENTRY: Final = "LEDGER_FORKED"
MOST: Final = 10_000
"""Half a second; a daemon that ended as it should has left a few."""


async def check_tail(reader: Reader, keys: Keys, after: int, last: int) -> None:
    """Refuse receipts beyond a number that are not as they were signed."""
    place, before = max(0, after - 1, last - MOST), None
    while place < last:
        page = partial(receipts.page, chain=keys.chain, after=place)
        rows = await reader.read(page)
        before = await anyio.to_thread.run_sync(follow, rows, keys, place, before)
        place += len(rows)


def follow(rows: Sequence[ReceiptRow], keys: Keys, place: int, before: Link | None) -> Link | None:
    """What the next page has to follow; of an entry that is not as it was signed, the fault."""
    if not rows:
        raise _bad(place + 1, "it is missing")
    lines = LineReader(keys)
    for number, row in enumerate(rows, place + 1):
        try:
            line = lines.authentic(encode_line(row.entry))
        except Inauthentic as error:
            raise _bad(number, error.message) from error
        if row.entry != line.entry or row.entry.sequence != number:
            raise _bad(number, "it is not what its row says, or not in its place")
        found = succession(line.receipt, before) if before or number == 1 else None
        if found is not None:
            raise _bad(number, found[1])
        before = link_of(line)
    return before


def _bad(number: int, why: str) -> StartError:
    return StartError(
        f"entry {number} of the ledger was changed behind the daemon: {why}",
        code=BAD_ENTRY,
        fix="find out by whom; verify an export offline; restore the data directory from a backup",
    )
