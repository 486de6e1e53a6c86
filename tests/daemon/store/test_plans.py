"""How the database finds receipts: never by reading the chain for one of them."""

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event

from daemon.store import receipt_search, receipts
from daemon.store.ids import CallId
from tests.daemon.store.specimen import CHAIN

FOUND: dict[str, tuple[str, Callable[[Connection], object]]] = {
    "by_call": ("call_id", lambda c: receipts.by_call(c, CHAIN, CallId("x"))),
    "of_call": ("call_id", lambda c: receipt_search.of_call(c, CHAIN, CallId("x"))),
    "named": ("principal", lambda c: receipts.named(c, CHAIN, "x", ["k"])),
    "count": ("principal", lambda c: receipts.count(c, CHAIN, "x", "k")),
    "of_name": ("principal", lambda c: receipt_search.of_name(c, CHAIN, "x")),
    "calls_of_name": ("principal", lambda c: receipt_search.calls_of_name(c, CHAIN, "x")),
}


@pytest.mark.parametrize("name", FOUND)
def test_what_is_found_by_an_index_is_found_by_it_however_long_the_ledger(
    engine: Engine, name: str
) -> None:
    """The order of the chain is no way to one call: that would read ten million receipts."""
    column, find = FOUND[name]
    asked: list[tuple[str, Any]] = []

    def note(_c: object, _cursor: object, statement: str, values: Any, *_rest: object) -> None:
        asked.append((statement, values))

    with engine.connect() as connection:
        event.listen(connection, "before_cursor_execute", note)
        find(connection)
        event.remove(connection, "before_cursor_execute", note)
        ((statement, values),) = asked
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values).all()
    assert f"USING INDEX ix_receipts_{column} ({column}=?" in str(plan)
