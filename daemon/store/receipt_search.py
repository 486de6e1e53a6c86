"""Finding receipts: by what they are about, and by time. Each answer costs a page, not the ledger.

Trusted to answer in the order of the chain, from a number on, so that pages make a whole. Times of
a chain never go back, so the first receipt of a time is found by halving. Functions over a
connection. Leaves: StoreFault.
"""

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, bindparam, func, select

from daemon.store.ids import CallId
from daemon.store.tables import receipts

_CHAIN: Final = receipts.c.chain == bindparam("b_chain")
_AFTER: Final = receipts.c.sequence > bindparam("b_after")
_NUMBERS: Final = select(receipts.c.sequence).where(_CHAIN, _AFTER).order_by(receipts.c.sequence)
_OF_CALL: Final = _NUMBERS.where(receipts.c.call_id == bindparam("b_call"))
_OF_NAME: Final = _NUMBERS.where(receipts.c.principal == bindparam("b_name"))
_CALLS_OF_NAME: Final = select(receipts.c.call_id.distinct()).where(
    _CHAIN, receipts.c.principal == bindparam("b_name"), receipts.c.call_id.is_not(None)
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


def first_from(connection: Connection, chain: str, time: str) -> int:
    """The number of the first receipt of this time or later; one beyond the last if there is none.

    `time` is in the form that receipts have, in which the order of text is the order of time.
    """
    low, high = 1, (connection.execute(_LAST, {"b_chain": chain}).scalar_one() or 0) + 1
    while low < high:
        middle = (low + high) // 2
        found = connection.execute(_TIME, {"b_chain": chain, "b_number": middle})
        if found.scalar_one() < time:
            low = middle + 1
        else:
            high = middle
    return low
