"""Changes of secrets: put, go back to an earlier version, seal anew, remove, revoke.

Each is one transaction with its receipt, counted (`daemon.vault.mark`), and noted outside of the
database once it is durable. What was erased is then scrubbed from the log of the database; where
that cannot be done at once, because somebody reads an older state, `keep` does it later. Raises
`Unavailable` (VAULT_UNAVAILABLE), `NotFound`, `Conflict` and `BadRequest`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

import anyio
import structlog

from daemon.clock import Clock
from daemon.elsewhere.barred import REINSTATED, REVOKED, name_of
from daemon.elsewhere.checking import Checked
from daemon.errors import BadRequest, Conflict, Fault, NotFound
from daemon.store import secrets
from daemon.store.commit import Tx
from daemon.store.reader import Reader
from daemon.store.secrets import SealedValue, SecretFacts, SecretRow, SecretState
from daemon.store.writer import Writer
from daemon.vault.keeper import LIST, VaultKeeper, absent, parsed_reference
from daemon.vault.mark import Mark, advance
from daemon.vault.notes import Notes
from ledger.chain import Entry
from vault.envelope import SecretVersion, seal
from vault.errors import VaultError
from vault.reference import Scope, SecretName, SecretReference
from vault.secret import Secret

_log = structlog.get_logger("stockade.vault")
T = TypeVar("T")

SCRUB_SECONDS: Final = 1.0
# So many are sealed anew before others get their turn at the database.
PAGE: Final = 100
# So many secrets are named in the receipt of a look at the sources.
MAX_TOLD: Final = 500


@dataclass(frozen=True, slots=True)
class Kept:
    """How secrets are kept."""

    versions: int
    warning_ms: int


class VaultChanges:
    """See the module."""

    def __init__(
        self,
        keeper: VaultKeeper,
        reader: Reader,
        writer: Writer,
        clock: Clock,
        notes: Notes,
        kept: Kept,
    ) -> None:
        self._keeper = keeper
        self._reader = reader
        self._writer = writer
        self._clock = clock
        self._notes = notes
        self.kept = kept
        self._unscrubbed = anyio.Event()

    async def put(
        self, reference: str, value: Secret, expires_ms: int | None, principal: str
    ) -> tuple[int, Entry]:
        """Seals a value as the next version of a secret; the value is wiped."""
        parsed = self._own(reference)
        now = self._clock.now_ms()
        if expires_ms is not None and expires_ms <= now:
            raise BadRequest(
                "it would have expired already",
                code="EXPIRY_PAST",
                fix="give a time that is still to come",
            )
        with value:
            self._sealing(parsed, value)(1)  # what cannot be sealed is the client's fault

            def operation(tx: Tx) -> tuple[int, Entry]:
                version = self.next_version(tx, parsed, value, expires_ms)
                body: dict[str, object] = {
                    "principal": principal,
                    "reference": str(parsed),
                    "version": version,
                }
                if expires_ms is not None:
                    body["expires_ms"] = expires_ms
                return version, tx.receipt("secret.put", body, principal=principal)

            return await self.change(operation)

    async def revert(self, reference: str, version: int, principal: str) -> tuple[int, Entry]:
        """Puts the value of an earlier version again, as the next one."""
        parsed = self._own(reference)
        row = await self._reader.read(
            lambda connection: secrets.get(connection, parsed.scope, parsed.name, version)
        )
        if row is None:
            raise NotFound(
                f"version {version} of {parsed} is not kept", code="UNKNOWN_VERSION", fix=LIST
            )
        with self._keeper.value(parsed, row) as value:

            def operation(tx: Tx) -> tuple[int, Entry]:
                made = self.next_version(tx, parsed, value, None)
                body = {
                    "principal": principal,
                    "reference": str(parsed),
                    "version": made,
                    "from_version": version,
                }
                return made, tx.receipt("secret.reverted", body, principal=principal)

            return await self.change(operation)

    async def remove(self, reference: str, principal: str) -> Entry:
        """Erases every version of a secret."""
        return await self._erase(reference, SecretState.REMOVED, {}, principal)

    async def revoke(self, reference: str, cancel: bool, principal: str) -> Entry:
        """Erases every version, and refuses the secret by that name until it is put again.

        One that is kept elsewhere is not erased; it is refused until it is reinstated.
        """
        how = {"running": "cancelled" if cancel else "reported"}
        parsed = parsed_reference(reference)
        if parsed.scope.source is None:
            return await self._erase(reference, SecretState.REVOKED, how, principal)
        self._keeper.sources.check(parsed)
        now = self._clock.now_ms()

        def operation(tx: Tx) -> Entry:
            if not secrets.bar(tx.connection, parsed.scope, parsed.name, now_ms=now):
                raise absent(parsed, SecretState.REVOKED)
            body = {"principal": principal, "reference": str(parsed), **how}
            return tx.receipt(REVOKED, body, principal=name_of(parsed))

        return await self.change(operation)

    async def reinstate(self, reference: str, principal: str) -> Entry:
        """Lets a revoked secret that is kept elsewhere be had again."""
        parsed = parsed_reference(reference)
        if parsed.scope.source is None:
            raise Conflict(
                f"{parsed} is kept here: what was revoked is erased",
                code="NOT_KEPT_ELSEWHERE",
                fix=f"`stockade secrets put {parsed}` with a new value",
            )

        def operation(tx: Tx) -> Entry:
            stored = secrets.unbar(tx.connection, parsed.scope, parsed.name)
            barred = self._keeper.barred
            if not stored and not (barred and barred.says(tx, parsed)):
                raise Conflict(f"{parsed} is not revoked", code="NOT_REVOKED", fix=LIST)
            body = {"principal": principal, "reference": str(parsed)}
            return tx.receipt(REINSTATED, body, principal=name_of(parsed))

        return await self.change(operation)

    async def checked(self, report: Sequence[Checked], principal: str) -> Entry:
        """Makes the receipt of a look at the sources: what was asked for, and what was found."""
        found = [held for one in report for held in one.secrets]
        body = {
            "principal": principal,
            "sources": [_told(one.name, one.fault) for one in report],
            "secrets": [_told(held.reference, held.fault) for held in found[:MAX_TOLD]],
            "count": len(found),
        }
        return await self._writer.write(
            lambda tx: tx.receipt("secret.checked", body, principal=principal)
        )

    async def seal_anew(self, reference: str, principal: str) -> tuple[int, Entry]:
        """New data keys for every version of a secret; empty: of all. How many, and the receipt."""
        only = self._own(reference) if reference else None
        after, count = secrets.BEFORE_ALL, 0
        while rows := await self._page(after):
            after = (rows[-1].scope, rows[-1].name, rows[-1].version)
            wanted = [row for row in rows if only is None or reference_of(row) == only]
            count += await self._keeper.rows.write(
                self._writer, partial(self._sealed_anew, rows=wanted)
            )
        if only is not None and not count:
            raise absent(only, None, LIST)

        def operation(tx: Tx) -> Entry:
            body = {"principal": principal, "reference": reference or "all", "versions": count}
            return tx.receipt("secret.rotated", body, principal=principal)

        return count, await self.change(operation)

    async def _page(self, after: tuple[str, str, int]) -> tuple[SecretRow, ...]:
        return await self._reader.read(
            lambda connection: secrets.page(connection, after=after, limit=PAGE)
        )

    async def listing(self, after: tuple[str, str], limit: int) -> tuple[SecretFacts, ...]:
        """A page of the secrets in use."""
        return await self._reader.read(
            lambda connection: secrets.page_of_current(connection, after=after, limit=limit)
        )

    async def expiring(self) -> int:
        """How many secrets expire soon, or have."""
        before = self._clock.now_ms() + self.kept.warning_ms
        return await self._reader.read(lambda connection: secrets.expiring(connection, before))

    async def keep(self) -> None:
        """Scrubs what could not be scrubbed at once."""
        while True:
            await self._unscrubbed.wait()
            await anyio.sleep(SCRUB_SECONDS)
            try:
                if await self._writer.scrub():
                    self._unscrubbed = anyio.Event()
            except Fault as fault:
                _log.warning("vault.not_scrubbed", reason=fault.code)

    async def refused(self, action: str, reference: str, principal: str, code: str) -> None:
        """Makes the receipt of a change that was refused."""
        try:
            named = str(parsed_reference(reference)) if reference else ""
        except BadRequest:
            named = ""  # it may be anything, a value too
        body = {"principal": principal, "act": action, "reference": named, "reason": code}
        await self._writer.write(lambda tx: tx.receipt("secret.refused", body, principal=principal))

    async def unlocked(self, available: bool, code: str, principal: str) -> None:
        """Makes the receipt of a try to unlock the vault."""
        body = {"principal": principal, "available": available, "reason": code}
        await self._writer.write(lambda tx: tx.receipt("vault.unlock", body, principal=principal))

    async def _erase(
        self, reference: str, state: SecretState, more: dict[str, str], principal: str
    ) -> Entry:
        parsed = self._own(reference)

        def operation(tx: Tx) -> Entry:
            if not secrets.erase(tx.connection, parsed.scope, parsed.name, state):
                last = secrets.latest(tx.connection, parsed.scope, parsed.name)
                raise absent(parsed, last.state if last else None, LIST)
            body = {"principal": principal, "reference": str(parsed), **more}
            return tx.receipt(f"secret.{state}", body, principal=principal)

        return await self.change(operation)

    async def change(self, operation: Callable[[Tx], T]) -> T:
        """Counted, durable, noted, and scrubbed."""

        def counted(tx: Tx) -> tuple[T, Mark]:
            return operation(tx), advance(tx)

        result, mark = await self._keeper.rows.write(self._writer, counted)
        await self._notes.note(mark)
        if not await self._writer.scrub():
            self._unscrubbed.set()
        return result

    def next_version(
        self,
        tx: Tx,
        parsed: SecretReference,
        value: Secret,
        expires_ms: int | None,
        *,
        at_least: int = 1,
    ) -> int:
        """Seals a value as the next version of a secret, in a transaction; its number."""
        version, _ = secrets.put(
            tx.connection,
            parsed.scope,
            parsed.name,
            seal=self._sealing(parsed, value),
            now_ms=self._clock.now_ms(),
            keep=self.kept.versions,
            expires_ms=expires_ms,
            at_least=at_least,
        )
        return version

    def _sealing(self, parsed: SecretReference, value: Secret) -> Callable[[int], SealedValue]:
        def sealed(version: int) -> SealedValue:
            # The root in force as this is stored: it may be changed while the value is on its way.
            root = self._keeper.keys.sealing
            number = SecretVersion(version)
            try:
                made = seal(root, parsed.scope, parsed.name, number, value)
            except VaultError as error:
                raise BadRequest(error.message, code=str(error.code), fix=error.fix) from None
            return SealedValue(root.key_id, made.to_bytes())

        return sealed

    def _sealed_anew(self, tx: Tx, rows: Sequence[SecretRow]) -> int:
        count = 0
        for row in rows:
            reference = reference_of(row)
            with self._keeper.value(reference, row) as value:
                fresh = self._sealing(reference, value)(row.version)
            count += secrets.reseal(tx.connection, row, fresh)
        return count

    def _own(self, reference: str) -> SecretReference:
        parsed = parsed_reference(reference)
        if parsed.scope.source is not None:
            raise BadRequest(
                f"{parsed} is kept elsewhere: it is changed there",
                code="KEPT_ELSEWHERE",
                fix="change it where the configuration says that it is kept",
            )
        return parsed


def reference_of(row: SecretRow) -> SecretReference:
    """The name of what is in a row."""
    return SecretReference(Scope(row.scope), SecretName(row.name))


def _told(name: str, fault: Fault | None) -> dict[str, str]:
    return {"name": name, "reason": "" if fault is None else fault.code}
