"""Copying a database whole, while it is in use; and asking SQLite whether one is damaged.

Trusted to copy one state, without holding up who writes, and to change nothing. Raises
`StoreFault`.
"""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote

from daemon.store.driver_errors import fault_of
from daemon.store.faults import StoreFault


def copy(source: Path, target: Path) -> None:
    """Copies the database as it is now; on the disk when this returns. Replaces the target."""
    unfinished = target.with_name(f".{target.name}")
    unfinished.unlink(missing_ok=True)
    os.close(os.open(unfinished, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    try:
        with (
            _faults(),
            closing(sqlite3.connect(f"file:{quote(str(source))}?mode=ro", uri=True)) as there,
            closing(sqlite3.connect(unfinished)) as here,
        ):
            there.backup(here)  # in one step, hence of one state
            # Else it would want files beside it to be read.
            here.execute("PRAGMA journal_mode = DELETE")
        _sync(unfinished)
        unfinished.replace(target)
        _sync(target.parent)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def address_of_copy(path: Path) -> str:
    """What SQLite is told of a database that nobody writes to."""
    return f"file:{quote(str(path))}?mode=ro&immutable=1"


def check(path: Path) -> None:
    """Refuses a copy of which a page or an index is damaged."""
    with _faults(), closing(sqlite3.connect(address_of_copy(path), uri=True)) as looked:
        found = looked.execute("PRAGMA integrity_check(1)").fetchone()[0]
    if found != "ok":
        raise StoreFault("STORE_CORRUPT", f"the copy is damaged: {found}", "use another copy")


@contextmanager
def _faults() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise fault_of(error) or error from error


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
