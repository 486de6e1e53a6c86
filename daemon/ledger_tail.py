"""The end of the ledger, looked at before anything is added to it.

What a checkpoint covers, its root vouches for; what came after the last one, nothing does yet.
Trusted to find whatever of it is not what was signed, or not in its place: the next checkpoint
would vouch for it. Looks at a bounded part. Raises StartError and StoreFault.
"""

from functools import partial
from typing import Final

from sqlalchemy import Connection

from daemon.errors import StartError
from daemon.store import receipts
from daemon.store.reader import Reader
from ledger.authentic import Inauthentic, Link, link_of, succession
from ledger.authentic import Reader as LineReader
from ledger.export import encode_line
from ledger.keys import Keys

MOST: Final = 10_000
"""Half a second; a daemon that ended as it should has left a few."""


async def check_tail(reader: Reader, keys: Keys, after: int, last: int) -> None:
    """Refuse receipts beyond a number that are not as they were signed."""
    place, before = max(0, after - 1, last - MOST), None
    while place < last:
        looked = partial(_page, chain=keys.chain, keys=keys, after=place, before=before)
        place, before = await reader.read(looked)


def _page(
    connection: Connection, chain: str, keys: Keys, after: int, before: Link | None
) -> tuple[int, Link | None]:
    lines = LineReader(keys)
    place = after
    for row in receipts.page(connection, chain, after=after):
        place += 1
        try:
            line = lines.authentic(encode_line(row.entry))
        except Inauthentic as error:
            raise _bad(place, error.message) from error
        if row.entry != line.entry or row.entry.sequence != place:
            raise _bad(place, "it is not what its row says, or not in its place")
        found = succession(line.receipt, before) if before or place == 1 else None
        if found is not None:
            raise _bad(place, found[1])
        before = link_of(line)
    if place == after:
        raise _bad(place + 1, "it is missing")
    return place, before


def _bad(number: int, why: str) -> StartError:
    return StartError(
        f"entry {number} of the ledger was changed behind the daemon: {why}",
        code="LEDGER_FORKED",
        fix="find out by whom; verify an export offline; restore the data directory from a backup",
    )
