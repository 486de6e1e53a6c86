"""Finding receipts is the same as looking at all of them, a bounded page at a time."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, insert

from daemon.store import receipt_search as search
from daemon.store import receipts
from daemon.store.engine import writing
from daemon.store.ids import CallId
from daemon.store.receipt_search import Page, Wanted
from daemon.store.receipts import ReceiptRow
from daemon.store.tables import calls
from ledger.chain import Chain, Head
from ledger.receipt import format_time
from tests.daemon.store.specimen import CHAIN, KEYS

COUNT = 60
NOW = 1_800_000_000_000
KINDS = ("call.received", "call.denied", "call.permitted", "daemon.started", "callous")
TOOLS = ("shell", "read", "")


def made() -> list[ReceiptRow]:
    chain = Chain(CHAIN, KEYS.signer(), None)
    return [
        ReceiptRow(
            CHAIN,
            chain.append(
                KINDS[n % 5],
                {"n": n},
                receipt_id=f"01970000-0000-7000-8000-{n:012x}",
                now_ms=NOW + n // 3,  # several of one time
            ),
            CallId(f"call-{n % 3}"),
            f"device/{n % 2}",
        )
        for n in range(COUNT)
    ]


ROWS = made()


@pytest.fixture
def stored(engine: Engine) -> Engine:
    last = ROWS[-1].entry
    to = Head(CHAIN, last.sequence, last.digest, last.time)
    with writing(engine).begin() as connection:
        receipts.add(connection, CHAIN, ROWS, after=None, to=to)
        for number, tool in enumerate(TOOLS[:2]):
            connection.execute(insert(calls), [call(f"call-{number}", tool)])
    return engine


def call(call_id: str, tool: str) -> dict[str, Any]:
    text = dict.fromkeys(
        ("principal", "device_id", "tool_digest", "digest", "state", "reason", "origin"), "x"
    )
    return {
        **text,
        "call_id": call_id,
        "tool": tool,
        "arguments": b"{}",
        "detach": False,
        "created_ms": 0,
        "updated_ms": 0,
    }


def fits(row: ReceiptRow, wanted: Wanted) -> bool:
    kind, time = row.entry.kind, row.entry.time
    tool = TOOLS[int(str(row.call_id)[-1])]
    of_kind = not wanted.kinds or any(
        kind.startswith(one.removesuffix("*")) if one[-1] in ".*" else kind == one
        for one in wanted.kinds
    )
    return (
        of_kind
        and wanted.principal in ("", row.principal)
        and wanted.tool in ("", tool)
        and (not wanted.since or time >= wanted.since)
        and (not wanted.until or time <= wanted.until)
    )


TIMES = st.one_of(st.just(""), st.integers(-5, 30).map(lambda n: format_time(NOW + n)))
WANTED = st.builds(
    Wanted,
    principal=st.sampled_from(["", "device/0", "device/1", "device/9"]),
    tool=st.sampled_from(["", "shell", "read", "none"]),
    kinds=st.lists(
        st.sampled_from(["call.denied", "call.", "c*", "daemon.started", "x"]), max_size=2
    ).map(tuple),
    since=TIMES,
    until=TIMES,
)


def collected(turn: Callable[[int], Page], at: int, over: Callable[[int], bool]) -> list[int]:
    """Page after page to the end."""
    found: list[int] = []
    while not over(at):
        page = turn(at)
        assert page.reached != at, "no way on"
        found += [row.entry.sequence for row in page.rows]
        at = page.reached
    return found


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
@given(wanted=WANTED, limit=st.integers(1, 9), scan=st.integers(1, 80))
def test_pages_are_all_that_fits_in_order(
    stored: Engine, wanted: Wanted, limit: int, scan: int
) -> None:
    """Both ways, whatever the pages' size and how far each may look."""
    expected = [row.entry.sequence for row in ROWS if fits(row, wanted)]
    before = search.SCAN
    search.SCAN = scan  # type: ignore[misc]
    try:
        with stored.connect() as c:
            start, end = search.bounds(c, CHAIN, wanted)
            forth = collected(
                lambda at: search.forwards(c, CHAIN, wanted, at, limit),
                max(0, start - 1),
                lambda at: at >= end - 1,
            )
            back = collected(
                lambda at: search.backwards(c, CHAIN, wanted, at, limit),
                COUNT + 1,
                lambda at: at <= 1,
            )
    finally:
        search.SCAN = before  # type: ignore[misc]
    assert forth == expected
    assert back == expected[::-1]


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
@given(moment=st.integers(-2, 25))
def test_the_first_of_a_time_is_found_by_halving(stored: Engine, moment: int) -> None:
    """Also between two times, before the first and after the last."""
    time = format_time(NOW + moment)
    expected = next((n for n, row in enumerate(ROWS, 1) if row.entry.time >= time), COUNT + 1)
    with stored.connect() as connection:
        assert search.first_from(connection, CHAIN, time) == expected
        assert search.first_from(connection, "another", time) == 1


def test_a_call_and_a_name_are_found_whole(stored: Engine) -> None:
    """Their numbers, in order."""
    with stored.connect() as connection:
        assert list(search.of_call(connection, CHAIN, CallId("call-1"))) == list(range(2, 61, 3))
        assert list(search.of_name(connection, CHAIN, "device/0")) == list(range(1, 61, 2))
        names = search.calls_of_name(connection, CHAIN, "device/0")
    assert set(names) == {"call-0", "call-1", "call-2"}
