"""A hand in the daemon's database, beside the daemon."""

import sqlite3
from contextlib import closing

from tests.running import RunningDaemon


def edit(daemon: RunningDaemon, statement: str, *values: object) -> int:
    """Runs one statement on the daemon's database; how many rows it changed."""
    with closing(sqlite3.connect(daemon.home.data / "stockade.db", timeout=10)) as connection:
        changed = connection.execute(statement, values).rowcount
        connection.commit()
    return changed


def look(daemon: RunningDaemon, statement: str, *values: object) -> list[tuple[object, ...]]:
    """What a query finds in it."""
    with closing(sqlite3.connect(daemon.home.data / "stockade.db", timeout=10)) as connection:
        return connection.execute(statement, values).fetchall()
