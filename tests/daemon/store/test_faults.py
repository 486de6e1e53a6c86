"""Real faults: a full disk, a read-only file system, a damaged page."""

import asyncio
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import text

from daemon.store import meta
from daemon.store.commit import Tx
from daemon.store.engine import open_engine, writing
from daemon.store.faults import StoreFault
from tests.daemon.store.specimen import note, noted, writer

pytestmark = pytest.mark.anyio


def fill(file: Path) -> None:
    """Take what space there is, to the last byte."""
    descriptor = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_APPEND)
    try:
        for size in (65536, 4096, 1):
            try:
                while True:
                    os.write(descriptor, b"x" * size)
            except OSError:
                continue
    finally:
        os.close(descriptor)


def bulky(name: str) -> Callable[[Tx], int]:
    """An operation that needs some pages."""

    def operation(tx: Tx) -> int:
        assert meta.swap(tx.connection, name, None, "x" * 20_000)
        return note(name)(tx)

    return operation


async def test_a_full_disk_refuses_and_then_goes_on(small_disk: Path) -> None:
    """With no space left nothing is acknowledged; with space again the chain goes on unbroken."""
    engine = open_engine(small_disk / "stockade.db")
    ballast = small_disk / "ballast"
    async with writer(engine) as store:
        stored = ["first"]
        await store.write(note("first"))
        for round_ in range(3):
            fill(ballast)
            names = [f"{round_}-{number}" for number in range(20)]
            results = await asyncio.gather(
                *(store.write(bulky(name)) for name in names), return_exceptions=True
            )
            faults = {result.code for result in results if isinstance(result, StoreFault)}
            assert faults == {"STORE_FULL"}
            assert not [r for r in results if not isinstance(r, StoreFault | int)]
            stored += [n for n, r in zip(names, results, strict=True) if isinstance(r, int)]
            assert noted(engine) == stored
            ballast.unlink()
            await store.write(note(f"after-{round_}"))
            stored.append(f"after-{round_}")
    assert noted(engine) == stored
    engine.dispose()


def test_a_disk_that_is_full_at_the_start(small_disk: Path) -> None:
    """A database that cannot be made for want of space is a fault with what to do."""
    fill(small_disk / "ballast")
    with pytest.raises(StoreFault) as caught:
        open_engine(small_disk / "stockade.db")
    assert caught.value.code == "STORE_FULL"
    assert "space" in caught.value.fix


def test_a_read_only_file_system_refuses_to_start(small_disk: Path) -> None:
    """On a file system that has become read-only the daemon does not start, and says why."""
    path = small_disk / "stockade.db"
    open_engine(path).dispose()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True, timeout=10)
    with pytest.raises(StoreFault) as caught:
        open_engine(path)
    assert caught.value.code == "STORE_READ_ONLY"
    assert caught.value.fix


def test_a_file_that_may_not_be_written(tmp_path: Path) -> None:
    """A database file without write permission is a fault, not a daemon without a ledger."""
    path = tmp_path / "stockade.db"
    open_engine(path).dispose()
    path.chmod(0o400)
    if os.access(path, os.W_OK):
        pytest.skip("root writes to any file; the read-only file system is tested above")
    with pytest.raises(StoreFault) as caught:
        open_engine(path)
    assert caught.value.code == "STORE_READ_ONLY"


async def test_a_damaged_page_is_named(tmp_path: Path) -> None:
    """A page overwritten on disk is STORE_CORRUPT when it is met, for reads and for writes."""
    path = tmp_path / "stockade.db"
    engine = open_engine(path)
    with writing(engine).begin() as connection:
        for number in range(2000):
            meta.swap(connection, f"key-{number:05}", None, "v" * 100)
    engine.dispose()
    content = bytearray(path.read_bytes())
    at = content.index(b"key-01000" + b"v" * 100) // 4096 * 4096
    content[at : at + 4096] = os.urandom(4096)
    path.write_bytes(content)

    engine = open_engine(path)
    with engine.connect() as connection, pytest.raises(StoreFault) as caught:
        connection.execute(text("SELECT sum(length(value)) FROM meta")).scalar_one()
    assert caught.value.code == "STORE_CORRUPT"
    async with writer(engine) as store:
        with pytest.raises(StoreFault) as caught:
            await store.write(lambda tx: meta.swap(tx.connection, "key-01000", "v" * 100, "new"))
        assert caught.value.code == "STORE_CORRUPT"
    engine.dispose()


def test_a_damaged_header_refuses_to_start(tmp_path: Path) -> None:
    """A database whose first page is gone is refused."""
    path = tmp_path / "stockade.db"
    open_engine(path).dispose()
    content = bytearray(path.read_bytes())
    content[:4096] = os.urandom(4096)
    path.write_bytes(content)
    with pytest.raises(StoreFault) as caught:
        open_engine(path)
    assert caught.value.code == "STORE_CORRUPT"
