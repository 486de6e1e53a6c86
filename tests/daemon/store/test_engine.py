"""Opening the database: private, durable, query-only unless asked otherwise."""

import os
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from daemon.store import engine as database
from daemon.store import meta
from daemon.store.engine import open_engine, writing
from daemon.store.faults import StoreFault
from tests.daemon.store.conftest import EngineFactory


def test_files_are_private(engines: EngineFactory, path: Path) -> None:
    """Neither the database nor its log is readable by anybody else, whatever the umask."""
    before = os.umask(0)
    try:
        with writing(engines()).begin() as connection:
            meta.swap(connection, "a", None, "1")
            modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    finally:
        os.umask(before)
    assert len(modes) == 3
    assert set(modes.values()) == {0o600}


def test_open_file_is_closed_to_others(path: Path) -> None:
    """A database that a restored backup left readable for all is closed again."""
    path.touch(0o644)
    path.chmod(0o644)
    open_engine(path).dispose()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_symbolic_link_is_refused(path: Path, tmp_path: Path) -> None:
    """A link planted in the place of the database is not followed."""
    (tmp_path / "elsewhere").touch()
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreFault, match="not a regular file") as caught:
        open_engine(path)
    assert caught.value.code == "STORE_IO"


def test_missing_folder_is_a_fault(tmp_path: Path) -> None:
    """A data directory that is not there is said so, with what to do."""
    with pytest.raises(StoreFault) as caught:
        open_engine(tmp_path / "missing" / "stockade.db")
    assert caught.value.code == "STORE_IO"
    assert caught.value.fix


@pytest.mark.parametrize("statement", ["INSERT INTO meta VALUES ('a', 'b')", "DELETE FROM meta"])
def test_connections_cannot_write_unasked(engines: EngineFactory, statement: str) -> None:
    """A connection that did not ask to write is refused by the database itself."""
    engine = engines()
    with writing(engine).begin() as connection:
        meta.swap(connection, "a", None, "1")
    with engine.connect() as connection, pytest.raises(StoreFault) as caught:
        connection.execute(text(statement))
    assert caught.value.code == "STORE_READ_ONLY"


def test_every_commit_reaches_the_disk(engines: EngineFactory) -> None:
    """The log is fsynced at each commit (FULL), and foreign keys are enforced."""
    with writing(engines()).begin() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "trusted_schema")
        }
    assert found == {
        "journal_mode": "wal",
        "synchronous": 2,
        "foreign_keys": 1,
        "trusted_schema": 0,
    }


def test_a_read_is_one_snapshot(engines: EngineFactory) -> None:
    """A read in progress sees nothing of a later write, and does not hold it up."""
    engine = engines()
    with engine.connect() as reading:
        assert meta.get(reading, "a") is None
        with writing(engine).begin() as connection:
            meta.swap(connection, "a", None, "1")
        assert meta.get(reading, "a") is None
    with engine.connect() as reading:
        assert meta.get(reading, "a") == "1"


def test_another_writer_is_waited_for_and_then_named(
    engines: EngineFactory, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database that another process keeps locked is STORE_BUSY, in bounded time."""
    monkeypatch.setattr(database, "BUSY_SECONDS", 0.05)
    engine = engines()
    other = sqlite3.connect(path, isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreFault) as caught, writing(engine).begin():
            pass
    finally:
        other.close()
    assert caught.value.code == "STORE_BUSY"
    with writing(engine).begin() as connection:
        assert meta.swap(connection, "a", None, "1")


def test_no_error_repeats_what_was_stored(engines: EngineFactory) -> None:
    """Arguments and sealed secrets are statement parameters: no error's text holds them."""
    with writing(engines()).begin() as connection:
        for statement in ("INSERT INTO meta VALUES (:k, NULL)", "INSERT INTO nowhere VALUES (:k)"):
            with pytest.raises((StoreFault, DBAPIError)) as caught:
                connection.execute(text(statement), {"k": "hunter2"})
            chain: BaseException | None = caught.value
            while chain is not None:
                assert "hunter2" not in str(chain) + repr(chain)
                chain = chain.__cause__ or chain.__context__


def test_importing_the_store_imports_neither_orm_nor_alembic() -> None:
    """What start-up pays for is what it uses."""
    program = (
        "import sys; import daemon.store.writer, daemon.store.reader, daemon.store.calls;"
        "print([m for m in ('alembic', 'mako', 'sqlalchemy.orm', 'grpc') if m in sys.modules])"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=90
    )
    assert found.stdout.strip() == "[]"
