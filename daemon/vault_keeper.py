"""The vault as the daemon uses it: root key held, values sealed in the store, opened for a run.

Trusted with the root key in memory. A root that cannot be had leaves the vault unavailable, with
the reason and the command that mends it; it never becomes another root. Values leave only through
`open`, for the references a permitted call was granted. Raises `Unavailable` (VAULT_UNAVAILABLE),
`NotFound` and `BadRequest`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import anyio
import anyio.to_thread

from daemon.clock import Clock
from daemon.errors import BadRequest, NotFound, Unavailable
from daemon.store import secrets
from daemon.store.commit import Tx
from daemon.store.reader import Reader
from daemon.store.secrets import SecretRow
from daemon.store.writer import Writer
from ledger.chain import Entry
from vault.envelope import SecretVersion, open_sealed, parse_sealed, seal
from vault.errors import Code, VaultError
from vault.reference import SecretReference, parse_reference
from vault.root import RootKey, RootSource
from vault.secret import Secret

# A keychain may ask its owner to unlock it; a daemon must not wait for that for ever.
ROOT_DEADLINE_SECONDS = 20
_NOT_PRIVATE = (Code.ROOT_EXPOSED, Code.ROOT_WRONG_OWNER, Code.ROOT_NOT_REGULAR)


@dataclass(frozen=True, slots=True)
class VaultState:
    """Whether secrets can be used, and if not, why and what to do."""

    root: str
    available: bool
    reason: str = ""
    fix: str = ""


class VaultKeeper:
    """See the module."""

    def __init__(self, source: RootSource, reader: Reader, writer: Writer, clock: Clock) -> None:
        self._source = source
        self._reader = reader
        self._writer = writer
        self._clock = clock
        self._root: RootKey | None = None
        self.state = VaultState(source.describe(), False, "the root key has not been read yet")

    async def unlock(self) -> VaultState:
        """Tries to get the root key; the state says how that went.

        Raises `VaultError` for a root that others could have read or planted: a person has to see
        to that before anything is served.
        """
        described = self._source.describe()
        try:
            with anyio.fail_after(ROOT_DEADLINE_SECONDS):
                self._root = await anyio.to_thread.run_sync(
                    self._source.load, abandon_on_cancel=True
                )
        except VaultError as error:
            if error.code in _NOT_PRIVATE:
                raise
            self.state = VaultState(described, False, error.message, error.fix)
        except TimeoutError:
            reason = f"the keychain did not answer in {ROOT_DEADLINE_SECONDS} s"
            self.state = VaultState(described, False, reason, "unlock it, then restart stockaded")
        else:
            self.state = VaultState(described, True)
        return self.state

    async def put(self, reference: str, value: bytes, principal: str) -> tuple[int, Entry]:
        """Seals a value as the next version of a secret."""
        parsed = self._parse(reference)
        root = self._require_root()

        secret = Secret(value)

        def sealed(version: int) -> bytes:
            number = SecretVersion(version)
            return seal(root, parsed.scope, parsed.name, number, secret).to_bytes()

        try:
            sealed(1)  # a value that cannot be sealed is the client's fault, not the store's
        except VaultError as error:
            raise BadRequest(error.message, code=str(error.code), fix=error.fix) from None
        now = self._clock.now_ms()

        def operation(tx: Tx) -> tuple[int, Entry]:
            version = secrets.put(tx.connection, parsed.scope, parsed.name, seal=sealed, now_ms=now)
            body = {"principal": principal, "reference": str(parsed), "version": version}
            return version, tx.receipt("secret.put", body, principal=principal)

        with secret:
            return await self._writer.write(operation)

    async def listing(self) -> Sequence[SecretRow]:
        """Every secret's current version; sealed."""
        return await self._reader.read(secrets.list_current)

    async def remove(self, reference: str, principal: str) -> Entry:
        """Erases every version of a secret."""
        parsed = self._parse(reference)

        def operation(tx: Tx) -> Entry | None:
            if not secrets.remove(tx.connection, parsed.scope, parsed.name):
                return None
            body = {"principal": principal, "reference": str(parsed)}
            return tx.receipt("secret.removed", body, principal=principal)

        entry = await self._writer.write(operation)
        if entry is None:
            raise NotFound(f"there is no {parsed}", code="UNKNOWN_SECRET", fix=_LIST)
        return entry

    async def missing(self, references: Sequence[str]) -> str | None:
        """The first reference that names nothing, before anybody is asked to approve."""
        for reference in references:
            if await self._current(self._parse(reference)) is None:
                return reference
        return None

    async def open(self, references: Sequence[str]) -> dict[str, tuple[int, Secret]]:
        """The values, with their versions, for one run."""
        root = self._require_root() if references else None
        opened: dict[str, tuple[int, Secret]] = {}
        for reference in references:
            parsed = self._parse(reference)
            row = await self._current(parsed)
            if row is None or root is None:
                raise NotFound(f"there is no {reference}", code="UNKNOWN_SECRET", fix=_LIST)
            try:
                sealed = parse_sealed(row.sealed)
                version = SecretVersion(row.version)
                value = open_sealed(root, parsed.scope, parsed.name, version, sealed)
            except VaultError as error:
                raise Unavailable(error.message, code=str(error.code), fix=error.fix) from None
            opened[reference] = (row.version, value)
        return opened

    async def _current(self, wanted: SecretReference) -> SecretRow | None:
        return await self._reader.read(
            lambda connection: secrets.current(connection, wanted.scope, wanted.name)
        )

    def _require_root(self) -> RootKey:
        if self._root is None:
            raise Unavailable(
                f"secrets are unavailable: {self.state.reason}",
                code="VAULT_UNAVAILABLE",
                fix=self.state.fix,
            )
        return self._root

    @staticmethod
    def _parse(reference: str) -> SecretReference:
        try:
            return parse_reference(reference)
        except VaultError as error:
            raise BadRequest(error.message, code=str(error.code), fix=error.fix) from None


_LIST = "`stockade secrets list` shows what there is"
