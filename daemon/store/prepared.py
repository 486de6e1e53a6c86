"""Statements on the path of every call, compiled once and given to the driver as they are.

SQLAlchemy's execution costs 60 to 100 microseconds a statement, SQLite's 10. These are still Core
statements, compiled for whatever dialect the connection has; only the journey through the
execution machinery is left out. Trusted to let errors of the driver leave as they do elsewhere:
StoreFault where they blame the store.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Dialect, UpdateBase
from sqlalchemy.sql.compiler import SQLCompiler

from daemon.store import engine


class Prepared:
    """One statement that returns no rows. The values are given by the names of its parameters."""

    __slots__ = ("_compiled", "_statement")

    def __init__(self, statement: UpdateBase) -> None:
        self._statement = statement
        # At most one entry for each dialect; two threads compiling the same lose nothing.
        self._compiled: dict[str, tuple[str, tuple[str, ...] | None]] = {}

    def run(self, connection: Connection, values: Mapping[str, object]) -> int:
        """Execute it; how many rows it changed."""
        text, names = self._for(connection.dialect)
        with engine.driving(connection) as driver:
            return int(driver.execute(text, _bound(names, values)).rowcount)

    def run_many(self, connection: Connection, rows: Sequence[Mapping[str, object]]) -> None:
        """Execute it once for each of `rows`."""
        text, names = self._for(connection.dialect)
        with engine.driving(connection) as driver:
            driver.executemany(text, [_bound(names, row) for row in rows])

    def _for(self, dialect: Dialect) -> tuple[str, tuple[str, ...] | None]:
        found = self._compiled.get(dialect.name)
        if found is None:
            compiled = self._statement.compile(dialect=dialect)
            assert isinstance(compiled, SQLCompiler)  # noqa: S101 - it is no DDL
            order = None if compiled.positiontup is None else tuple(compiled.positiontup)
            found = self._compiled[dialect.name] = (compiled.string, order)
        return found


def _bound(names: tuple[str, ...] | None, values: Mapping[str, object]) -> Any:
    """The values as the driver takes them: in the statement's order, or by name."""
    return values if names is None else [values[name] for name in names]
