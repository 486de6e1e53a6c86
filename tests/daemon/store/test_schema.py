"""Migrations: whole or not at all, never onto what is not ours or newer."""

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, text

from daemon.store import policies, schema
from daemon.store.engine import open_engine, writing
from daemon.store.faults import StoreFault
from daemon.store.ids import PolicyDigest
from daemon.store.policies import PolicyRow
from daemon.store.tables import metadata


def test_migrations_make_the_tables(engine: Engine) -> None:
    """A migrated database has exactly the tables that the code was written for."""
    with engine.connect() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, metadata) == []


def test_a_difference_would_be_seen(engine: Engine) -> None:
    """The comparison above is not blind: a dropped column, table and index are found."""
    with writing(engine).begin() as connection:
        connection.execute(text("ALTER TABLE calls DROP COLUMN workspace"))
        connection.execute(text("DROP TABLE tool_records"))
        connection.execute(text("DROP INDEX ix_receipts_call_id"))
        found = compare_metadata(MigrationContext.configure(connection), metadata)
    assert {entry[0] for entry in found} == {"add_column", "add_table", "add_index"}


def test_the_newest_revision_is_the_one_start_up_expects() -> None:
    """A revision added without telling `schema` would never be applied."""
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    config.set_main_option("path_separator", "os")
    assert ScriptDirectory.from_config(config).get_heads() == [schema.REVISION]


def test_a_newer_database_is_refused_unchanged(path: Path) -> None:
    """An older daemon must not write into a database it does not understand."""
    open_engine(path).dispose()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreFault, match="9999") as caught:
        open_engine(path)
    assert caught.value.code == "STORE_NEWER"
    assert path.read_bytes() == before


def test_a_foreign_database_is_refused_unchanged(path: Path) -> None:
    """A database of some other program at our path is not migrated into."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE theirs (a)")
    connection.close()
    with pytest.raises(StoreFault) as caught:
        open_engine(path)
    assert caught.value.code == "STORE_CORRUPT"
    with closing(sqlite3.connect(path)) as connection, connection:
        names = connection.execute("SELECT name FROM sqlite_schema").fetchall()
    connection.close()
    assert names == [("theirs",)]


def test_what_is_no_database_is_refused(path: Path) -> None:
    """A file of other bytes at our path is refused, and stays as it is."""
    path.write_bytes(b"PK\x03\x04" * 4096)
    with pytest.raises(StoreFault) as caught:
        open_engine(path)
    assert caught.value.code == "STORE_CORRUPT"
    assert path.read_bytes() == b"PK\x03\x04" * 4096


def test_a_migration_that_fails_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A migration that is interrupted half-way leaves the database as it was: here, empty."""
    real = schema._upgrade

    def half(connection: object) -> None:
        real(connection)  # type: ignore[arg-type]
        raise RuntimeError("the power fails")

    monkeypatch.setattr(schema, "_upgrade", half)
    with pytest.raises(RuntimeError, match="power"):
        open_engine(path)
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,)
    connection.close()
    monkeypatch.undo()
    open_engine(path).dispose()


def test_a_second_start_does_not_import_alembic(path: Path) -> None:
    """Start-up is cheap: the stored revision is read directly."""
    open_engine(path).dispose()
    program = (
        "import sys, pathlib; from daemon.store.engine import open_engine;"
        "open_engine(pathlib.Path(sys.argv[1])).dispose(); print('alembic' in sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", program, str(path)],
        capture_output=True,
        text=True,
        check=True,
        timeout=90,
    )
    assert found.stdout.strip() == "False"


def test_two_starts_at_once_migrate_once(path: Path) -> None:
    """Two processes that find an empty database at the same time both end with a good one."""
    program = (
        "import sys, pathlib; from daemon.store.engine import open_engine;"
        "open_engine(pathlib.Path(sys.argv[1])).dispose()"
    )
    command = [sys.executable, "-c", program, str(path)]
    children = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(3)]
    errors = [child.communicate(timeout=180)[1] for child in children]
    assert [child.returncode for child in children] == [0, 0, 0], errors


def test_an_older_database_is_brought_up_with_all_that_is_in_it(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the first version stored is still there, and belongs to whom it did."""
    monkeypatch.setattr(schema, "REVISION", "0001")
    open_engine(path).dispose()
    monkeypatch.undo()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO devices VALUES ('dev-1', 'laptop', 'device', 'active', 1, NULL)"
        )
        connection.execute(
            "INSERT INTO certificates VALUES ('0a', 'dev-1', x'01', x'02', 1, 2, NULL)"
        )
    connection.close()
    open_engine(path).dispose()
    with closing(sqlite3.connect(path)) as connection, connection:
        found = connection.execute("SELECT serial, device_id, agent_id FROM certificates")
        assert found.fetchall() == [("0a", "dev-1", None)]
    connection.close()


def test_a_copy_is_made_before_a_migration(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a database that is there, closed to others, under the name of what it is before."""
    monkeypatch.setattr(schema, "REVISION", "0001")
    open_engine(path).dispose()
    copy = path.with_name(f"{path.stem}-before-0001{path.suffix}")
    assert not copy.exists()
    monkeypatch.undo()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO devices VALUES ('dev-1', 'laptop', 'device', 'active', 1, NULL)"
        )
    connection.close()
    open_engine(path).dispose()
    copy = path.with_name(f"{path.stem}-before-{schema.REVISION}{path.suffix}")
    assert copy.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(copy)) as connection, connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == ("0001",)
        assert connection.execute("SELECT name FROM devices").fetchone() == ("laptop",)
    connection.close()
    assert sorted(file.name for file in path.parent.iterdir() if "before" in file.name) == [
        copy.name
    ]


def test_older_policies_are_kept_with_their_history(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sets that the first version stored are found under their digests, in their order."""
    monkeypatch.setattr(schema, "REVISION", "0002")
    open_engine(path).dispose()
    monkeypatch.undo()
    with closing(sqlite3.connect(path)) as connection, connection:
        for digest, files in (("aa", b'{"a.cedar":""}'), ("bb", b"{}"), ("cc", b"{}")):
            connection.execute("INSERT INTO policies VALUES (?, ?, 1)", (digest, files))
        for number, digest in enumerate(("aa", "bb", "aa"), 1):
            row = (number, digest, number, "device/dev-1")
            connection.execute("INSERT INTO policy_activations VALUES (?, ?, ?, ?)", row)
    connection.close()
    engine = open_engine(path)
    with engine.connect() as connected:
        found = policies.history(connected)
        assert [(one.number, one.digest, one.cause) for one in found] == [
            (3, "aa", "applied"),
            (2, "bb", "applied"),
            (1, "aa", "applied"),
        ]
        kept = policies.get(connected, PolicyDigest("aa"))
        assert kept == PolicyRow(PolicyDigest("aa"), b'{"a.cedar":""}', None, None, 1)
    engine.dispose()
