"""Finding receipts: by what they are about, and by time. Each answer costs a page, not the ledger.

Trusted to answer in the order of the chain, from a number on, so that pages make a whole. Times of
a chain never go back, so the first receipt of a time is found by halving. Functions over a
connection. Leaves: StoreFault.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Select, bindparam, false, func, or_, select

from daemon.store.ids import CallId
from daemon.store.receipts import AMONG, ReceiptRow, row_of
from daemon.store.tables import calls, receipts

SCAN: Final = 20_000
"""Receipts that one page looks through: 40 ms. A page that found too few says how far it came."""

_CHAIN: Final = receipts.c.chain == bindparam("b_chain")
_AFTER: Final = receipts.c.sequence > bindparam("b_after")
_NUMBERS: Final = select(receipts.c.sequence).where(AMONG, _AFTER).order_by(receipts.c.sequence)
_OF_CALL: Final = _NUMBERS.where(receipts.c.call_id == bindparam("b_call"))
_OF_NAME: Final = _NUMBERS.where(receipts.c.principal == bindparam("b_name"))
_CALLS_OF_NAME: Final = (
    select(receipts.c.call_id)
    .distinct()
    .where(AMONG, receipts.c.principal == bindparam("b_name"), receipts.c.call_id.is_not(None))
)
_LAST: Final = select(func.max(receipts.c.sequence)).where(_CHAIN)
_TIME: Final = select(receipts.c.time).where(_CHAIN, receipts.c.sequence == bindparam("b_number"))


def of_call(connection: Connection, chain: str, call_id: CallId) -> Sequence[int]:
    """The numbers of all receipts of a call."""
    values = {"b_chain": chain, "b_call": call_id, "b_after": 0}
    return connection.execute(_OF_CALL, values).scalars().all()


def of_name(connection: Connection, chain: str, name: str) -> Sequence[int]:
    """The numbers of all receipts that are found by this principal, or `lease/ID`."""
    values = {"b_chain": chain, "b_name": name, "b_after": 0}
    return connection.execute(_OF_NAME, values).scalars().all()


def calls_of_name(connection: Connection, chain: str, name: str) -> tuple[CallId, ...]:
    """The calls that these are about."""
    found = connection.execute(_CALLS_OF_NAME, {"b_chain": chain, "b_name": name}).scalars()
    return tuple(CallId(one) for one in found if one is not None)


def last(connection: Connection, chain: str) -> int:
    """The number of the newest receipt; 0 where there is none."""
    return connection.execute(_LAST, {"b_chain": chain}).scalar_one() or 0


def first_from(connection: Connection, chain: str, time: str) -> int:
    """The number of the first receipt of this time or later; one beyond the last if there is none.

    `time` is in the form that receipts have, in which the order of text is the order of time.
    """
    low, high = 1, last(connection, chain) + 1
    while low < high:
        middle = (low + high) // 2
        found = connection.execute(_TIME, {"b_chain": chain, "b_number": middle})
        if found.scalar_one() < time:
            low = middle + 1
        else:
            high = middle
    return low


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which receipts: all that is set has to hold. `kinds` are whole, or end in "." or "*"."""

    principal: str = ""
    tool: str = ""
    kinds: tuple[str, ...] = ()
    since: str = ""
    until: str = ""

    @property
    def anything(self) -> bool:
        """Whether this leaves nothing out."""
        return self == Wanted()


@dataclass(frozen=True, slots=True)
class Page:
    """Receipts in order, and the number that was looked through to."""

    rows: tuple[ReceiptRow, ...]
    reached: int


def bounds(connection: Connection, chain: str, wanted: Wanted) -> tuple[int, int]:
    """The first number of the period, and the one after its last."""
    start = first_from(connection, chain, wanted.since) if wanted.since else 1
    if not wanted.until:
        return start, last(connection, chain) + 1
    # "~" sorts after every time that is the same: `until` itself is in the period.
    return start, first_from(connection, chain, wanted.until + "~")


def forwards(connection: Connection, chain: str, wanted: Wanted, after: int, limit: int) -> Page:
    """What follows a number, oldest first; `reached` is the last that was looked at."""
    start, end = bounds(connection, chain, wanted)
    low = max(after + 1, start)
    high = min(low + SCAN, end)
    asked = _matching(chain, wanted, low, high).order_by(receipts.c.sequence).limit(limit)
    rows = tuple(row_of(found) for found in connection.execute(asked).mappings())
    return Page(rows, rows[-1].entry.sequence if len(rows) == limit else max(after, high - 1))


def backwards(connection: Connection, chain: str, wanted: Wanted, before: int, limit: int) -> Page:
    """What comes before a number, newest first; `reached` is the last looked at, 1 at the end."""
    start, end = bounds(connection, chain, wanted)
    high = min(before, end)
    low = max(start, high - SCAN)
    newest = receipts.c.sequence.desc()
    asked = _matching(chain, wanted, low, high).order_by(newest).limit(limit)
    rows = tuple(row_of(found) for found in connection.execute(asked).mappings())
    if len(rows) == limit:
        low = rows[-1].entry.sequence
    return Page(rows, 1 if low <= start else low)


def _matching(chain: str, wanted: Wanted, low: int, high: int) -> Select[Any]:
    found = select(receipts).where(
        receipts.c.chain == chain, receipts.c.sequence >= low, receipts.c.sequence < high
    )
    if wanted.principal:
        found = found.where(receipts.c.principal == wanted.principal)
    if wanted.kinds:
        found = found.where(or_(false(), *map(_of_kind, wanted.kinds)))
    if wanted.tool:
        of_tool = select(calls.c.call_id).where(
            calls.c.call_id == receipts.c.call_id, calls.c.tool == wanted.tool
        )
        found = found.where(of_tool.exists())
    return found


def _of_kind(kind: str) -> ColumnElement[bool]:
    if not kind.endswith((".", "*")):
        return receipts.c.kind == kind
    start = kind.removesuffix("*")
    return (receipts.c.kind >= start) & (receipts.c.kind < start + "~")
