"""Opening the database; with `copying`, the only module with a dialect's own SQL.

Trusted to open a private file (0600, no symbolic link), to make every commit durable before it
returns (WAL with synchronous FULL: the log is fsynced at each commit), and to let nothing write
that did not ask for it: a connection is query-only unless it comes from `writing(engine)`, whose
transactions begin IMMEDIATE, so that they never fail half-way for want of the write lock.

Every error of the driver that blames the store leaves as StoreFault; what blames a statement
(a mistake of ours) stays SQLAlchemy's. Statements and parameters are in no text of either.
"""

import os
import sqlite3
import stat
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, Final, NoReturn

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    ExceptionContext,
    Insert,
    QueuePool,
    Table,
    create_engine,
    event,
)
from sqlalchemy.dialects import sqlite

from daemon.store import schema
from daemon.store.driver_errors import fault_of
from daemon.store.faults import StoreFault

__all__ = [
    "StoreFault",
    "begin_again",
    "driving",
    "insert_once",
    "insertion_once",
    "keep",
    "met_fault",
    "move_log",
    "open_engine",
    "savepoint",
    "scrub",
    "sync",
    "undo",
    "writing",
]

BUSY_SECONDS: Final = 5.0
POOL_SIZE: Final = 8
"""One writer and the reader's threads, with room to spare; never waited for in practice."""

LOG_PAGES: Final = 8192
"""With so many in the log, the commit that finds them moves them itself: 32 MB."""

_PRAGMAS: Final = (
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    # A corrupted or planted schema must not call functions; a damaged page is found when read.
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
    # Spilled sorts would leave rows in temporary files on disk.
    "PRAGMA temp_store = MEMORY",
    # What is erased is overwritten with zeros, in the pages of the database.
    "PRAGMA secure_delete = ON",
    # The log keeps its largest size for ever otherwise.
    "PRAGMA journal_size_limit = 67108864",
    # It is moved long before, by `daemon.store.log_mover`, outside of anybody's commit.
    f"PRAGMA wal_autocheckpoint = {LOG_PAGES}",
)

_SCRUB_MILLISECONDS: Final = 200
# SQLite does not wait where somebody else moves the log: it says "busy" at once.
_moving: Final = threading.Lock()
_WRITES: Final = "stockade_writes"
_FAULT: Final = "stockade_fault"
_QUERY_ONLY: Final = "stockade_query_only"
_DRIVEN: Final = "stockade_driven"


def open_engine(path: Path) -> Engine:
    """The database at `path`, made if it is missing, with the schema of this version."""
    _make_private(path)
    engine = create_engine(
        URL.create("sqlite+pysqlite", database=str(path)),
        poolclass=QueuePool,
        pool_size=POOL_SIZE,
        max_overflow=0,
        hide_parameters=True,
        connect_args={
            "timeout": BUSY_SECONDS,
            # After an error that made SQLite roll back by itself, the next statement opens a
            # transaction (which is rolled back) instead of committing on its own.
            "isolation_level": "IMMEDIATE",
            "check_same_thread": False,
        },
    )
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    event.listen(engine, "handle_error", _on_error)
    try:
        schema.bring_up(engine, writing(engine))
    except BaseException:
        engine.dispose()
        raise
    return engine


def writing(engine: Engine) -> Engine:
    """The same database, through connections that may write."""
    return engine.execution_options(**{_WRITES: True})


def sync(connection: Connection) -> bool:
    """Write the log into the database itself, and that to the disk; whether all of it was."""
    with _moving, driving(connection) as driver:
        busy, _, _ = driver.execute("PRAGMA wal_checkpoint(FULL)").fetchone()
    return bool(busy == 0)


def move_log(engine: Engine) -> None:
    """Write into the database itself what of the log nobody reads an older state of.

    Nobody waits for it: neither who reads nor who writes. Leaves StoreFault.
    """
    with _moving:
        connection = engine.raw_connection()
        try:
            connection.cursor().execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error as error:
            connection.invalidate()
            raise fault_of(error) or error from error
        finally:
            connection.close()


def met_fault(connection: Connection) -> StoreFault | None:
    """The fault of the store met in this transaction, also when somebody swallowed it."""
    fault = connection.info.get(_FAULT)
    return fault if isinstance(fault, StoreFault) else None


@contextmanager
def transaction(connection: Connection) -> Iterator[None]:
    """A transaction that writes, begun and ended by the driver. Leaves StoreFault.

    SQLAlchemy's own costs every receipt 30 microseconds more. Of this one it knows nothing: what it
    begins by itself, at a statement that it executes, begins nothing in the database (`_on_begin`).
    """
    info = connection.info
    info.pop(_FAULT, None)
    _drive(connection, "BEGIN IMMEDIATE")
    info[_DRIVEN] = True
    try:
        yield
        _commit(connection)
    except BaseException:
        driver: Any = connection.connection.driver_connection
        with suppress(sqlite3.Error):  # whoever meets a fault here throws the connection away
            driver.rollback()
        raise
    finally:
        info[_DRIVEN] = False


def _commit(connection: Connection) -> None:
    _drive(connection, "COMMIT")


def begin_again(connection: Connection) -> None:
    """Undo all that was done in the transaction, which goes on as if it had just begun."""
    _drive(connection, "ROLLBACK")
    _drive(connection, "BEGIN IMMEDIATE")


def savepoint(connection: Connection) -> None:
    """Mark this place in the transaction."""
    _drive(connection, "SAVEPOINT operation")


def keep(connection: Connection) -> None:
    """Keep what was done since the savepoint."""
    _drive(connection, "RELEASE SAVEPOINT operation")


def undo(connection: Connection) -> None:
    """Undo what was done since the savepoint, and nothing before it."""
    _drive(connection, "ROLLBACK TO SAVEPOINT operation")
    _drive(connection, "RELEASE SAVEPOINT operation")


@contextmanager
def driving(connection: Connection) -> Iterator[Any]:
    """The driver's own connection, inside the transaction; its errors leave as StoreFault."""
    try:
        yield connection.connection.driver_connection
    except sqlite3.Error as error:
        _raise_fault(connection, error)


def _raise_fault(connection: Connection, error: sqlite3.Error) -> NoReturn:
    fault = fault_of(error)
    if fault is None:
        raise error
    if not fault.blames_operation:
        connection.info[_FAULT] = fault
    raise fault from error


def scrub(engine: Engine) -> bool:
    """Move the log into the database and empty it: what was erased is in neither afterwards.

    False if that could not be done now: somebody still reads an older state. Whoever writes waits
    meanwhile, so this waits only shortly; try again later. Not inside of a transaction.
    """
    with _moving:
        return _scrub(engine)


def _scrub(engine: Engine) -> bool:
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {_SCRUB_MILLISECONDS}")
        busy, *_ = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        cursor.execute(f"PRAGMA busy_timeout = {round(BUSY_SECONDS * 1000)}")
    except sqlite3.Error as error:
        connection.invalidate()
        raise fault_of(error) or error from error
    finally:
        connection.close()
    return bool(busy == 0)


def _drive(connection: Connection, text: str) -> None:
    # Not `driving`: this is twice and more on the path of every receipt.
    driver: Any = connection.connection.driver_connection
    try:
        driver.execute(text)
    except sqlite3.Error as error:
        _raise_fault(connection, error)


def insert_once(connection: Connection, table: Table, values: Mapping[str, object]) -> bool:
    """Insert a row unless its primary key is taken; whether it was inserted."""
    return connection.execute(insertion_once(table), values).rowcount == 1


@cache
def insertion_once(table: Table) -> Insert:
    """The statement of `insert_once`."""
    return sqlite.insert(table).on_conflict_do_nothing(index_elements=list(table.primary_key))


def _make_private(path: Path) -> None:
    """Create the file 0600, or see that it is ours and closed to others.

    An existing file is not opened: closing any descriptor of it would drop the locks this process
    already holds on it.
    """
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        _check_private(path)
    except OSError as error:
        raise _cannot_open(path, error.strerror) from error
    else:
        os.close(descriptor)


def _check_private(path: Path) -> None:
    try:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode):
            raise _cannot_open(path, "it is not a regular file")
        if found.st_uid != os.geteuid():
            raise _cannot_open(path, "it belongs to another user")
        if stat.S_IMODE(found.st_mode) & 0o077:
            path.chmod(stat.S_IMODE(found.st_mode) & 0o700)
    except OSError as error:
        raise _cannot_open(path, error.strerror) from error
    # SQLite would say no more than that it cannot open it. The log is made beside the file.
    if not all(os.access(place, os.W_OK, effective_ids=True) for place in (path, path.parent)):
        raise StoreFault(
            "STORE_READ_ONLY",
            f"the database {path}, or the folder it is in, cannot be written to",
            "make the data directory and the files in it writable for the daemon's user",
        )


def _cannot_open(path: Path, why: str | None) -> StoreFault:
    return StoreFault(
        "STORE_IO",
        f"the database {path} cannot be opened: {why}",
        "the data directory and its files must belong to the daemon's user",
    )


def _on_connect(connection: sqlite3.Connection, _record: object) -> None:
    try:
        for pragma in _PRAGMAS:
            connection.execute(pragma)
        found = _use_log(connection)
    except sqlite3.Error as error:
        connection.close()
        raise fault_of(error) or error from error
    if found != "wal":
        connection.close()
        raise StoreFault(
            "STORE_IO",
            "the file system of the database cannot hold a WAL database",
            "put the data directory on a local file system",
        )


def _use_log(connection: sqlite3.Connection) -> object:
    """Change to WAL, waiting for others that do the same: the busy timeout does not hold here."""
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
            time.sleep(0.01)


def _on_begin(connection: Connection) -> None:
    """Begin explicitly: the driver would begin late, and reads would see no one snapshot."""
    writes = bool(connection.get_execution_options().get(_WRITES))
    info = connection.info
    if info.get(_DRIVEN):
        return
    info.pop(_FAULT, None)
    driver: Any = connection.connection.driver_connection
    try:
        if info.get(_QUERY_ONLY) is not (not writes):
            driver.execute(f"PRAGMA query_only = {'OFF' if writes else 'ON'}")
            info[_QUERY_ONLY] = not writes
        driver.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
    except sqlite3.Error as error:
        fault = fault_of(error)
        info[_FAULT] = fault
        raise fault or error from error


def _on_error(context: ExceptionContext) -> None:
    error = context.original_exception
    if isinstance(error, StoreFault):
        raise error
    fault = fault_of(error)
    if fault is None:
        return
    if context.connection is not None and not fault.blames_operation:
        context.connection.info[_FAULT] = fault
    raise fault from error
