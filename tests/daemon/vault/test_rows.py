"""A sealed value that is kept in memory is never one that a change has replaced or erased."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.lowlevel
import pytest
from sqlalchemy import Connection

from daemon.errors import Fault
from daemon.store.reader import Reader
from daemon.vault.rows import MAX_BYTES, MAX_ROWS, VaultRows
from tests.daemon.vault.opened import REFERENCE, TOKEN, WORDS, Opened, home_at, opened
from vault.reference import parse_reference
from vault.secret import Secret

T = TypeVar("T")

pytestmark = pytest.mark.anyio


async def seen(it: Opened) -> bytes | str:
    """The value, or the reason why there is none."""
    try:
        return await it.value(TOKEN)
    except Fault as fault:
        return fault.code


async def restored(it: Opened) -> None:
    parts = [part.data async for part in it.vault.backup.back_up(Secret(WORDS), "me")]
    await it.put(TOKEN, b"put since")
    assert await seen(it) == b"put since"
    await it.vault.backup.restore(Secret(WORDS), b"".join(parts), overwrite=True, principal="me")


CHANGES: dict[str, tuple[Callable[[Opened], Awaitable[object]], bytes | str]] = {
    "put": (lambda it: it.put(TOKEN, b"third"), b"third"),
    "revert": (lambda it: it.vault.changes.revert(TOKEN, 1, "me"), b"first"),
    "remove": (lambda it: it.vault.changes.remove(TOKEN, "me"), "UNKNOWN_SECRET"),
    "revoke": (lambda it: it.vault.changes.revoke(TOKEN, True, "me"), "SECRET_REVOKED"),
    "seal anew": (lambda it: it.vault.changes.seal_anew(TOKEN, "me"), b"second"),
    "new root": (lambda it: it.vault.roots.rotate("", "", None, "me"), b"second"),
    "restore": (restored, b"second"),
}


@pytest.mark.parametrize(("change", "after"), CHANGES.values(), ids=CHANGES)
async def test_a_change_counts_at_once(
    tmp_path: Path, change: Callable[[Opened], Awaitable[object]], after: bytes | str
) -> None:
    """Whatever was opened before; and what is kept of it is what the database has."""
    async with opened(home_at(tmp_path)) as it:
        await it.put(TOKEN, b"first")
        await it.put(TOKEN, b"second")
        assert await seen(it) == b"second"
        await change(it)
        assert await seen(it) == after
        kept = await it.vault.keeper.rows.current([REFERENCE])
        assert kept == await VaultRows(it.base.reader).current([REFERENCE])


async def test_a_kept_row_expires(tmp_path: Path) -> None:
    """Its time is looked at each time."""
    async with opened(home_at(tmp_path)) as it:
        await it.put(TOKEN, b"short", it.base.clock.now_ms() + 1_000_000)
        assert await seen(it) == b"short"
        it.pass_time(1_000_000)
        assert await seen(it) == "SECRET_EXPIRED"


async def test_a_reader_that_was_overtaken_keeps_nothing(tmp_path: Path) -> None:
    """It read before the change, and comes to tell of it when the change is over."""
    async with opened(home_at(tmp_path)) as it:
        await it.put(TOKEN, b"before")
        rows = it.vault.keeper.rows
        has_read, may_tell = anyio.Event(), anyio.Event()

        class Slow(Reader):
            async def read(self, fn: Callable[[Connection], T]) -> T:
                found = await it.base.reader.read(fn)
                has_read.set()
                await may_tell.wait()
                return found

        rows._reader = Slow(it.base.reader._engine)
        async with anyio.create_task_group() as group:
            group.start_soon(rows.current, [REFERENCE])
            await has_read.wait()
            await it.put(TOKEN, b"after")
            may_tell.set()
        assert await seen(it) == b"after"


async def test_a_change_whose_caller_is_cancelled_counts(tmp_path: Path) -> None:
    """It is waited for: nobody keeps what was read before it."""
    async with opened(home_at(tmp_path)) as it:
        await it.put(TOKEN, b"0")
        for number in range(1, 20):
            assert await seen(it) != b"%d" % number
            with anyio.move_on_after(0):
                await it.put(TOKEN, b"%d" % number)
            kept = await it.vault.keeper.rows.current([REFERENCE])
            assert kept == await VaultRows(it.base.reader).current([REFERENCE])


async def test_what_is_kept_has_bounds(tmp_path: Path) -> None:
    """In rows, and a large value is read each time."""
    large = "secret://global/large"
    async with opened(home_at(tmp_path)) as it:
        await it.put(TOKEN, b"small")
        await it.put(large, os.urandom(MAX_BYTES))
        rows = it.vault.keeper.rows
        await rows.current([REFERENCE, parse_reference(large)])
        assert set(rows._kept) == {REFERENCE}
        found = await rows.current([REFERENCE])
        for number in range(MAX_ROWS + 10):
            rows._keep({parse_reference(f"secret://global/n{number}"): found[REFERENCE]})
        assert len(rows._kept) <= MAX_ROWS
