"""The log is moved into the database beside the writer, and again where it could not be."""

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import Engine

from daemon.store import log_mover
from daemon.store.engine import LOG_PAGES, move_log, scrub
from daemon.store.log_mover import EVERY
from tests.daemon.store.specimen import note, noted, writer

pytestmark = pytest.mark.anyio

PATIENCE_SECONDS = 60


def moved(path: Path) -> int:
    """How many receipts are in the database itself, whatever its log has."""
    # A copy without its log: as `immutable`, the original could be read while it is written to.
    alone = path.with_name("alone.db")
    alone.write_bytes(path.read_bytes())
    try:
        with closing(sqlite3.connect(alone)) as connection, connection:
            return int(connection.execute("SELECT count(*) FROM receipts").fetchone()[0])
    except sqlite3.Error:
        return 0  # copied in the middle of a move


async def until(true: Callable[[], bool]) -> None:
    for _ in range(PATIENCE_SECONDS * 50):
        if true():
            return
        await asyncio.sleep(0.02)
    pytest.fail("it did not come")


async def test_it_is_moved_while_the_writer_goes_on(engine: Engine, path: Path) -> None:
    """Long before a commit would have to do it, what was written is in the database itself."""
    assert EVERY * 16 < LOG_PAGES
    async with writer(engine) as to:
        for number in range(EVERY):
            await to.write(note(f"a{number}"))
        await until(lambda: moved(path) > 0)
        await to.write(note("z"))
    assert noted(engine) == [*(f"a{number}" for number in range(EVERY)), "z"]


async def test_a_move_that_fails_stops_neither_writes_nor_later_moves(
    engine: Engine, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The thread outlives a fault of the disk, and what it could not move it moves later."""
    failed: list[bool] = []

    def fail_once(engine: Engine) -> None:
        if not failed:
            failed.append(True)
            raise sqlite3.OperationalError("disk I/O error")
        move_log(engine)

    monkeypatch.setattr(log_mover, "move_log", fail_once)
    async with writer(engine) as to:
        for number in range(EVERY):
            await to.write(note(f"a{number}"))
        await until(lambda: bool(failed))
        for number in range(EVERY):
            await to.write(note(f"b{number}"))
        await until(lambda: moved(path) > 0)


async def test_what_is_erased_does_not_wait_for_a_move(engine: Engine) -> None:
    """A scrub waits until the log has been moved, instead of finding it busy."""
    async with writer(engine) as to:
        for number in range(EVERY * 2):
            await to.write(note(f"a{number}"))
        assert await to.scrub()
    assert scrub(engine)
