"""The sealed values of secrets in use, as the database has them: read once between two changes.

What is kept is what the database holds, sealed: no value and no data key. Trusted never to give a
row that a change which has returned has replaced or erased: every change of secrets is written
through here, all rows are forgotten before and after it, and none is kept while one is under way.
Bounded in rows and in bytes. Raises what the store raises.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeVar

import anyio

from daemon.store import secrets
from daemon.store.commit import Tx
from daemon.store.reader import Reader
from daemon.store.secrets import SecretFacts, SecretRow
from daemon.store.writer import Writer
from vault.reference import SecretReference

T = TypeVar("T")
Found = SecretRow | SecretFacts | None

MAX_ROWS: Final = 1024
# A row of more is read anew each time: so all of them have no more than 4 MiB.
MAX_BYTES: Final = 4096


class VaultRows:
    """See the module."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._kept: dict[SecretReference, SecretRow] = {}
        self._changes = 0
        self._under_way = 0

    async def current(
        self, references: Sequence[SecretReference]
    ) -> Mapping[SecretReference, Found]:
        """The versions in use of all of them, as of one moment; of one without, what is left."""
        if all(one in self._kept for one in references):
            return {one: self._kept[one] for one in references}
        before = self._changes
        found = await self._reader.read(
            lambda connection: [
                secrets.current(connection, one.scope, one.name)
                or secrets.latest(connection, one.scope, one.name)
                for one in references
            ]
        )
        rows = dict(zip(references, found, strict=True))
        if not self._under_way and before == self._changes:
            self._keep(rows)
        return rows

    async def write(self, writer: Writer, operation: Callable[[Tx], T]) -> T:
        """A change of secrets. It is waited for, whoever is cancelled: no row outlives it."""
        self._under_way += 1
        self._forget()
        try:
            with anyio.CancelScope(shield=True):
                written = await writer.write(operation)
        finally:
            self._under_way -= 1
            self._forget()
        return written

    def _forget(self) -> None:
        self._changes += 1
        self._kept.clear()

    def _keep(self, rows: Mapping[SecretReference, Found]) -> None:
        for reference, row in rows.items():
            if isinstance(row, SecretRow) and len(row.sealed) <= MAX_BYTES:
                if len(self._kept) >= MAX_ROWS:
                    self._kept.clear()
                self._kept[reference] = row
