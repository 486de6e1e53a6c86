"""What is kept of calls that are over, by what the configuration says."""

import json
from typing import Any

import pytest
from sqlalchemy import Engine, insert

from daemon.clock import Clock
from daemon.config import Ledger
from daemon.ledger.retention import Retention
from daemon.lifecycle import State
from daemon.store import receipts
from daemon.store.engine import writing
from daemon.store.reader import Reader
from daemon.store.tables import calls
from tests.daemon.store import specimen
from tests.daemon.store.test_retention import call, kept

MIB = 1024 * 1024
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def sent(number: int, device: str, state: State, size: int) -> dict[str, Any]:
    made = call(number, state, number)
    return {**made, "device_id": device, "arguments": b"x" * size}


async def left(engine: Engine, config: Ledger, rows: list[dict[str, Any]]) -> list[int]:
    """How much of each is there after a run; the ledger still verifies."""
    with writing(engine).begin() as connection:
        connection.execute(insert(calls), rows)
    async with specimen.writer(engine) as writer:
        await Retention(config, Reader(engine), writer, Clock()).run()
    specimen.verified(engine)
    return [len(one) for one in kept(engine, calls, calls.c.arguments)]


@pytest.mark.anyio
async def test_who_floods_pushes_out_nobody_elses(engine: Engine) -> None:
    """One device sends ten times what there is room for: another's old call stays as it was."""
    flood = [sent(n, "loud", State.SUCCEEDED, MIB // 4) for n in range(1, 41)]
    quiet = sent(0, "quiet", State.SUCCEEDED, 1000)
    found = await left(engine, Ledger(retain_days=0, retain_mib=1), [quiet, *flood])
    assert found[0] == 1000
    assert found[1:] == [0] * 37 + [MIB // 4] * 3


@pytest.mark.anyio
@pytest.mark.parametrize(("config", "days"), [(Ledger(retain_days=2), 2), (Ledger(), 365)])
async def test_what_is_older_goes_and_leaves_a_receipt(
    engine: Engine, config: Ledger, days: int
) -> None:
    """By days, a year where nothing is said; a receipt tells how many, and that it was for age."""
    now = Clock().now_ms()
    ages = (days * DAY_MS + HOUR_MS, days * DAY_MS - HOUR_MS, 0)
    rows = [
        {**sent(n, "x", State.SUCCEEDED, 7), "created_ms": now - age, "updated_ms": now - age}
        for n, age in enumerate(ages)
    ]
    assert await left(engine, config, rows) == [0, 7, 7]
    with engine.connect() as connection:
        [row] = receipts.stream(connection, specimen.CHAIN)
    said = json.loads(row.entry.canonical)
    assert said["kind"] == "ledger.pruned"
    assert (said["body"]["cause"], said["body"]["calls"]) == ("age", 1)


@pytest.mark.anyio
@pytest.mark.parametrize(("contents", "expected"), [("full", [7, 7, 7]), ("none", [0, 7, 0])])
async def test_contents_are_kept_if_they_are_to_be(
    engine: Engine,
    contents: Any,
    expected: list[int],
) -> None:
    """None of a call that is over; what has not ended keeps what it needs, and holds up nobody."""
    states = (State.SUCCEEDED, State.RUNNING, State.SUCCEEDED)
    rows = [sent(n, "x", state, 7) for n, state in enumerate(states)]
    assert await left(engine, Ledger(retain_days=0, contents=contents), rows) == expected
