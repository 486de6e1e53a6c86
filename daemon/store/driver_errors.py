"""What the driver's errors mean to the daemon.

Pure. The primary result code decides, but for the extended ones of `_FULL`; the extended one is
named in the message. Codes that are in no table here are a statement's mistake, not the store's.
"""

import sqlite3
from collections.abc import Mapping
from typing import Final

from daemon.store.faults import Code, StoreFault

_CODES: Final[Mapping[int, tuple[Code, str, str]]] = {
    sqlite3.SQLITE_FULL: (
        "STORE_FULL",
        "there is no space left for the database",
        "free space on the file system of the data directory",
    ),
    sqlite3.SQLITE_READONLY: (
        "STORE_READ_ONLY",
        "the database cannot be written to",
        "make the data directory and the files in it writable for the daemon's user",
    ),
    sqlite3.SQLITE_CORRUPT: (
        "STORE_CORRUPT",
        "the database is damaged",
        "stop the daemon and restore the data directory from a backup",
    ),
    sqlite3.SQLITE_BUSY: (
        "STORE_BUSY",
        "another process holds the database",
        "find the process that has the database open, and end it",
    ),
    sqlite3.SQLITE_CONSTRAINT: (
        "STORE_CONFLICT",
        "what was to be stored contradicts what is stored",
        "",
    ),
    sqlite3.SQLITE_IOERR: (
        "STORE_IO",
        "reading or writing the database failed",
        "check the file system of the data directory and the kernel's log",
    ),
}
_ALIASES: Final[Mapping[int, int]] = {
    sqlite3.SQLITE_NOTADB: sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_LOCKED: sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_PROTOCOL: sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN: sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_PERM: sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_NOMEM: sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_INTERNAL: sqlite3.SQLITE_IOERR,
}

# The log's index, a file of its own, could not grow: on a full disk this is met before SQLITE_FULL.
_FULL: Final = frozenset({sqlite3.SQLITE_IOERR_SHMSIZE})


def fault_of(error: BaseException) -> StoreFault | None:
    """The fault behind an error, or None where the error does not blame the store."""
    code = getattr(error, "sqlite_errorcode", None)
    if not isinstance(error, sqlite3.Error) or code is None:
        return None
    primary = (
        sqlite3.SQLITE_FULL if code in _FULL else code & 0xFF
    )  # the rest of an extended code is detail
    known = _CODES.get(_ALIASES.get(primary, primary))
    if known is None:
        return None
    fault_code, message, fix = known
    return StoreFault(fault_code, f"{message} ({error.sqlite_errorname})", fix)
