"""Where in the ledger its keys were rotated: written with the receipt, in its transaction.

Trusted to give those receipts, in order; what they say is verified by whoever follows them
(`ledger.lineage`). Functions over a connection. Leaves: StoreFault.
"""

from sqlalchemy import Connection

from daemon.store import meta, receipts
from ledger.export import encode_line


def lines(connection: Connection, chain: str) -> list[bytes]:
    """The receipts, as the lines of an export."""
    found = []
    for number in numbers(connection, chain):
        rows = receipts.page(connection, chain, after=number - 1, limit=1)
        found += [encode_line(row.entry) for row in rows]
    return found


def numbers(connection: Connection, chain: str) -> list[int]:
    """Their numbers."""
    return [int(one) for one in (meta.get(connection, _key(chain)) or "").split()]


def add(connection: Connection, chain: str, before: list[int], number: int) -> bool:
    """One more, after those; False if there are others by now."""
    old = " ".join(map(str, before)) or None
    return meta.swap(connection, _key(chain), old, " ".join(map(str, [*before, number])))


def _key(chain: str) -> str:
    return f"ledger.rotations.{chain}"
