"""A copy of a database, looked at without changing a byte of it. Raises `StoreFault`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import final

from sqlalchemy import URL, Connection, NullPool, create_engine

from daemon.store import copying, receipts, rotations, schema
from ledger.chain import Head
from ledger.export import encode_line


@final
class Copy:
    """A copy that nobody writes to."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    @property
    def revision(self) -> str | None:
        """Of its schema."""
        return schema.revision(self._connection)

    def head(self, chain: str) -> Head | None:
        """Where a ledger in it ends."""
        return receipts.head(self._connection, chain)

    def rotations(self, chain: str) -> list[bytes]:
        """The receipts by which a ledger's keys were rotated, in the lines of an export."""
        return rotations.lines(self._connection, chain)

    def ledger(self, chain: str) -> Iterator[bytes]:
        """A ledger in it, in the lines of an export."""
        rows = receipts.stream(self._connection, chain)
        return (encode_line(row.entry) for row in rows)


@contextmanager
def reading(path: Path) -> Iterator[Copy]:
    """Opens a copy. Raises `StoreFault` if SQLite finds it damaged."""
    copying.check(path)
    engine = create_engine(
        URL.create(
            "sqlite+pysqlite", database=copying.address_of_copy(path), query={"uri": "true"}
        ),
        poolclass=NullPool,
        hide_parameters=True,
    )
    try:
        with engine.connect() as connection:
            yield Copy(connection)
    finally:
        engine.dispose()
