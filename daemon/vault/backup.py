"""Backups of the vault, and taking secrets back from one, here or on another machine.

A backup has the versions in use, each sealed under the passphrase's key: whoever has both has the
secrets. What is taken back is sealed under this vault's own root and gets a version that no secret
of that name had, here or where the backup was made. Secrets that are there already are left, unless
the caller says otherwise. Raises `BadRequest` and `Unavailable`.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

import anyio.to_thread

from daemon.errors import BadRequest
from daemon.store import secrets
from daemon.store.commit import Tx
from daemon.store.reader import Reader
from daemon.store.secrets import SecretRow, SecretState
from daemon.store.writer import Writer
from daemon.vault.changes import VaultChanges, reference_of
from daemon.vault.keeper import VaultKeeper
from ledger.chain import Entry
from vault.backup import BackedUp, BackupWriter, read_backup
from vault.errors import VaultError
from vault.secret import Secret

PAGE: Final = 100


@dataclass(frozen=True, slots=True)
class BackedUpPart:
    """The next bytes of a backup; with the last ones, what it comes to."""

    data: bytes
    entry: Entry | None = None
    count: int = 0


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of the secrets of a backup, or of a part of it."""

    restored: tuple[str, ...]
    kept: tuple[str, ...]
    complete: bool
    entry: Entry


class VaultBackup:
    """See the module."""

    def __init__(
        self, keeper: VaultKeeper, changes: VaultChanges, reader: Reader, writer: Writer
    ) -> None:
        self._keeper = keeper
        self._changes = changes
        self._reader = reader
        self._writer = writer

    async def back_up(self, passphrase: Secret, principal: str) -> AsyncIterator[BackedUpPart]:
        """The parts of a backup of all secrets in use, in order."""
        _ = self._keeper.keys
        try:
            writer = await anyio.to_thread.run_sync(BackupWriter, passphrase)
        except VaultError as error:
            raise BadRequest(error.message, code=str(error.code), fix=error.fix) from None
        finally:
            passphrase.wipe()
        yield BackedUpPart(writer.header)
        after, count = secrets.BEFORE_ALL, 0
        while rows := await self._page(after):
            after = (rows[-1].scope, rows[-1].name, rows[-1].version)
            current = [row for row in rows if row.state is SecretState.CURRENT]
            count += len(current)
            yield BackedUpPart(b"".join(self._record(writer, row) for row in current))
        body = {"principal": principal, "secrets": count}
        entry = await self._writer.write(
            lambda tx: tx.receipt("vault.backed_up", body, principal=principal)
        )
        yield BackedUpPart(writer.end(), entry, count)

    async def restore(
        self, passphrase: Secret, data: bytes, overwrite: bool, principal: str
    ) -> Restored:
        """Takes the secrets of a backup's header and some of its records."""
        _ = self._keeper.keys
        try:
            read = await anyio.to_thread.run_sync(lambda: list(read_backup(passphrase, data)))
        except VaultError as error:
            raise BadRequest(error.message, code=str(error.code), fix=error.fix) from None
        finally:
            passphrase.wipe()
        found = [one for one in read if one is not None]
        try:
            return await self._taken(found, len(found) < len(read), overwrite, principal)
        finally:
            for one in found:
                one.value.wipe()

    async def _taken(
        self, found: list[BackedUp], complete: bool, overwrite: bool, principal: str
    ) -> Restored:
        def operation(tx: Tx) -> Restored:
            restored, kept = [], []
            for one in found:
                scope, name = one.reference.scope, one.reference.name
                if not overwrite and secrets.current(tx.connection, scope, name) is not None:
                    kept.append(str(one.reference))
                    continue
                self._changes.next_version(
                    tx, one.reference, one.value, one.expires_ms, at_least=one.version + 1
                )
                restored.append(str(one.reference))
            body = {"principal": principal, "restored": restored, "kept": len(kept)}
            entry = tx.receipt("vault.restored", body, principal=principal)
            return Restored(tuple(restored), tuple(kept), complete, entry)

        return await self._changes.change(operation)

    async def _page(self, after: tuple[str, str, int]) -> tuple[SecretRow, ...]:
        return await self._reader.read(
            lambda connection: secrets.page(connection, after=after, limit=PAGE)
        )

    def _record(self, writer: BackupWriter, row: SecretRow) -> bytes:
        reference = reference_of(row)
        with self._keeper.value(reference, row) as value:
            return writer.secret(
                BackedUp(reference, row.version, row.created_ms, row.expires_ms, value)
            )
