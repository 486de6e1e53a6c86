"""The ledger's receipts, as they were signed.

Trusted to append at the head and nowhere else: where a chain ends is stored twice, as its last row
and in `meta`, and moves by compare-and-swap in the transaction that adds the rows. So a tail that
was cut off is found at the next start, and a second process on the same chain is refused. (Whoever
restores the whole file restores both: against that stand checkpoints kept elsewhere.) Nothing here
edits or removes a receipt.

Leaves: StoreFault; STORE_CORRUPT where the two places disagree.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection, RowMapping, Select, bindparam, func, insert, select

from daemon.store import meta
from daemon.store.faults import StoreFault
from daemon.store.ids import CallId
from daemon.store.prepared import Prepared
from daemon.store.tables import receipts
from ledger.chain import Entry, Head
from ledger.errors import ChainError

MAX_PAGE: Final = 1000

_CHAIN: Final = receipts.c.chain == bindparam("b_chain")
# What is found by something else than its number: the chain, written so that no index has it. Else
# the database takes the order of the chain for the way, and reads all of it for one call.
AMONG: Final = receipts.c.chain.concat("") == bindparam("b_chain")
_HEAD: Final = (
    select(receipts.c.sequence, receipts.c.digest, receipts.c.time)
    .where(_CHAIN)
    .order_by(receipts.c.sequence.desc())
    .limit(1)
)
_INSERT: Final = Prepared(insert(receipts))
_PAGE: Final = (
    select(receipts)
    .where(_CHAIN, receipts.c.sequence > bindparam("b_after"))
    .order_by(receipts.c.sequence)
    .limit(bindparam("b_limit"))
)
_BY_CALL: Final = (
    select(receipts)
    .where(AMONG, receipts.c.call_id == bindparam("b_call"))
    .where(receipts.c.sequence > bindparam("b_after"))
    .order_by(receipts.c.sequence)
    .limit(bindparam("b_limit"))
)
_COUNT: Final = (
    select(func.count())
    .select_from(receipts)
    .where(AMONG, receipts.c.principal == bindparam("b_principal"))
    .where(receipts.c.kind == bindparam("b_kind"))
)
_NAMED: Final = (
    select(receipts)
    .where(AMONG, receipts.c.principal == bindparam("b_principal"))
    .where(receipts.c.kind.in_(bindparam("b_kinds", expanding=True)))
    .order_by(receipts.c.sequence)
    .limit(bindparam("b_limit"))
)


@dataclass(frozen=True, slots=True)
class ReceiptRow:
    """One entry of a ledger, and what it can be found by."""

    chain: str
    entry: Entry
    call_id: CallId | None = None
    principal: str | None = None


def head(connection: Connection, chain: str) -> Head | None:
    """Where the chain ends; None while it is empty."""
    row = connection.execute(_HEAD, {"b_chain": chain}).one_or_none()
    try:
        found = None if row is None else Head(chain, row.sequence, row.digest, row.time)
    except ChainError as error:
        raise _corrupt(chain, "its last receipt is damaged") from error
    if meta.get(connection, _key(chain)) != _mark(found):
        raise _corrupt(chain, "it does not end where it ended when it was last written")
    return found


def add(
    connection: Connection, chain: str, rows: Sequence[ReceiptRow], *, after: Head | None, to: Head
) -> None:
    """Append rows that follow `after` and end at `to`."""
    new = _mark(to)
    if new is None or not meta.swap(connection, _key(chain), _mark(after), new):
        raise _corrupt(chain, "another process has written to it")
    _INSERT.run_many(connection, [_values(row) for row in rows])


def page(
    connection: Connection, chain: str, *, after: int = 0, limit: int = MAX_PAGE
) -> tuple[ReceiptRow, ...]:
    """The receipts that follow the sequence number `after`, oldest first."""
    return _rows(connection, _PAGE, {"b_chain": chain, "b_after": after, "b_limit": _cap(limit)})


def by_call(
    connection: Connection, chain: str, call_id: CallId, *, after: int = 0, limit: int = MAX_PAGE
) -> tuple[ReceiptRow, ...]:
    """The receipts of one call, oldest first."""
    found = {"b_chain": chain, "b_call": call_id, "b_after": after, "b_limit": _cap(limit)}
    return _rows(connection, _BY_CALL, found)


def count(connection: Connection, chain: str, principal: str, kind: str) -> int:
    """How many receipts of a kind there are that are found by this principal."""
    values = {"b_chain": chain, "b_principal": principal, "b_kind": kind}
    return int(connection.execute(_COUNT, values).scalar_one())


def named(
    connection: Connection, chain: str, principal: str, kinds: Sequence[str]
) -> tuple[ReceiptRow, ...]:
    """The receipts of these kinds that are found by this principal, oldest first."""
    found = {"b_chain": chain, "b_principal": principal, "b_kinds": list(kinds)}
    return _rows(connection, _NAMED, {**found, "b_limit": MAX_PAGE})


def stream(
    connection: Connection, chain: str, *, from_sequence: int = 1, size: int = MAX_PAGE
) -> Iterator[ReceiptRow]:
    """All receipts from a sequence number on, fetched `size` at a time.

    The connection's snapshot is held while this is read; over a slow client, take `page` after
    `page` instead, each in a read of its own: receipts never change, so that is as consistent.
    """
    after = from_sequence - 1
    while rows := page(connection, chain, after=after, limit=size):
        yield from rows
        after = rows[-1].entry.sequence


def _key(chain: str) -> str:
    return f"ledger.head.{chain}"


def _mark(found: Head | None) -> str | None:
    return None if found is None else f"{found.sequence} {found.digest.hex()}"


def _corrupt(chain: str, why: str) -> StoreFault:
    return StoreFault(
        "STORE_CORRUPT",
        f"the ledger {chain} cannot be continued: {why}",
        "verify the ledger offline against the last checkpoint you kept; then restore a backup",
    )


def _cap(limit: int) -> int:
    return max(1, min(limit, MAX_PAGE))


def _values(row: ReceiptRow) -> dict[str, object]:
    entry = row.entry
    return {
        "chain": row.chain,
        "sequence": entry.sequence,
        "receipt_id": entry.receipt_id,
        "kind": entry.kind,
        "time": entry.time,
        "call_id": row.call_id,
        "principal": row.principal,
        "canonical": entry.canonical,
        "digest": entry.digest,
        "signature": entry.signature,
    }


def _rows(
    connection: Connection, statement: Select[tuple[object, ...]], values: dict[str, object]
) -> tuple[ReceiptRow, ...]:
    return tuple(row_of(found) for found in connection.execute(statement, values).mappings())


def row_of(found: RowMapping) -> ReceiptRow:
    """A row of the table."""
    entry = Entry(
        sequence=found["sequence"],
        receipt_id=found["receipt_id"],
        kind=found["kind"],
        time=found["time"],
        canonical=found["canonical"],
        digest=found["digest"],
        signature=found["signature"],
    )
    return ReceiptRow(found["chain"], entry, found["call_id"], found["principal"])
