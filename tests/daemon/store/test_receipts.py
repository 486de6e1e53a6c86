"""The contract of the receipts store."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from daemon.store import receipts
from daemon.store.engine import writing
from daemon.store.faults import StoreFault
from daemon.store.ids import CallId
from daemon.store.receipts import ReceiptRow
from ledger.chain import Chain, Head
from tests.daemon.store.specimen import CHAIN, KEYS, verified

COUNT = 25
NOW = 1_800_000_000_000


@pytest.fixture
def chain() -> Chain:
    return Chain(CHAIN, KEYS.signer(), None)


def made(chain: Chain, count: int) -> list[ReceiptRow]:
    return [
        ReceiptRow(
            CHAIN,
            chain.append(
                "test.noted", {"n": n}, receipt_id=f"01970000-0000-7000-8000-{n:012x}", now_ms=NOW
            ),
            CallId(f"call-{n % 3}") if n % 4 else None,
            "p" if n % 2 else None,
        )
        for n in range(count)
    ]


@pytest.fixture
def rows(engine: Engine, chain: Chain) -> list[ReceiptRow]:
    rows = made(chain, COUNT)
    assert chain.head is not None
    with writing(engine).begin() as connection:
        receipts.add(connection, CHAIN, rows, after=None, to=chain.head)
    return rows


def test_receipts_are_read_as_they_were_signed(engine: Engine, rows: list[ReceiptRow]) -> None:
    """Byte for byte, so that what is exported verifies."""
    with engine.connect() as connection:
        assert list(receipts.stream(connection, CHAIN)) == rows
    assert verified(engine).count == COUNT


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    max_examples=50,
)
@given(first=st.integers(1, COUNT + 2), size=st.integers(1, COUNT + 2))
def test_streams_are_complete(
    engine: Engine, rows: list[ReceiptRow], first: int, size: int
) -> None:
    """From any number on, in pages of any size: every receipt once, in order."""
    with engine.connect() as connection:
        found = list(receipts.stream(connection, CHAIN, from_sequence=first, size=size))
    assert found == rows[first - 1 :]


def test_receipts_of_a_call(engine: Engine, rows: list[ReceiptRow]) -> None:
    """A call's receipts are all of them, in order, and nobody else's."""
    with engine.connect() as connection:
        for call in ("call-0", "call-1", "call-2", "none"):
            expected = tuple(row for row in rows if row.call_id == call)
            assert receipts.by_call(connection, CHAIN, CallId(call)) == expected
        first = receipts.by_call(connection, CHAIN, CallId("call-1"), limit=2)
        after = first[-1].entry.sequence
        rest = receipts.by_call(connection, CHAIN, CallId("call-1"), after=after)
    assert first + rest == tuple(row for row in rows if row.call_id == "call-1")


def test_the_head_is_the_last_receipt(engine: Engine, rows: list[ReceiptRow], chain: Chain) -> None:
    """The chain is continued where it ends; an unknown chain is empty."""
    assert rows
    with engine.connect() as connection:
        assert receipts.head(connection, CHAIN) == chain.head
        assert receipts.head(connection, "other") is None


def test_appending_anywhere_but_the_end_is_refused(
    engine: Engine, rows: list[ReceiptRow], chain: Chain
) -> None:
    """An entry that follows an earlier one would be a fork."""
    old = chain.head
    assert old is not None
    first = rows[0].entry
    more = made(chain, 1)
    assert chain.head is not None
    for stale in (None, Head(CHAIN, 1, first.digest, first.time)):
        with pytest.raises(StoreFault) as caught, writing(engine).begin() as connection:
            receipts.add(connection, CHAIN, more, after=stale, to=chain.head)
        assert caught.value.code == "STORE_CORRUPT"
    with writing(engine).begin() as connection:
        receipts.add(connection, CHAIN, more, after=old, to=chain.head)
    assert verified(engine).count == COUNT + 1
