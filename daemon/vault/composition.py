"""The vault's parts, put together.

Trusted to hand a value that a client sent to nobody but the vault, sealed or not. Leaves `Fault`s.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Self

from daemon.elsewhere.barred import Barred
from daemon.elsewhere.sources import Sources
from daemon.errors import BadRequest
from daemon.foundation import Foundation
from daemon.vault.backup import VaultBackup
from daemon.vault.changes import Kept, VaultChanges
from daemon.vault.keeper import VaultKeeper, VaultState, parsed_reference
from daemon.vault.mark import KeychainNotes, Notebook, NoteFile
from daemon.vault.notes import Notes
from daemon.vault.root import KEYCHAIN_SERVICE
from daemon.vault.roots import Roots
from vault.errors import VaultError
from vault.root import KeychainNote
from vault.secret import Secret

NOTE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Vault:
    """See the module."""

    keeper: VaultKeeper
    roots: Roots
    changes: VaultChanges
    backup: VaultBackup

    @classmethod
    def over(cls, base: Foundation) -> Self:
        """The vault of a daemon's store, still locked."""
        settings = base.config.vault
        notes = Notes(_notebooks(base))
        sources = Sources.configured(base.config)
        barred = Barred(base.reader, base.estate.chain_id)
        keeper = VaultKeeper(base.reader, base.clock, sources, barred)
        warning = timedelta(days=settings.expiry_warning_days)
        kept = Kept(settings.keep_versions, round(warning.total_seconds() * 1000))
        changes = VaultChanges(keeper, base.reader, base.writer, base.clock, notes, kept)
        backup = VaultBackup(keeper, changes, base.reader, base.writer)
        return cls(keeper, Roots(base, keeper, notes), changes, backup)

    async def unlock(
        self, passphrase: Secret | None = None, create: bool = False, principal: str = ""
    ) -> VaultState:
        """Tries to get the root key; a try of somebody's leaves a receipt."""
        try:
            state = await self.roots.unlock(passphrase, create=create, starting=not principal)
        finally:
            if passphrase is not None:
                passphrase.wipe()
        if principal:
            await self.changes.unlocked(state.available, state.code, principal)
        return state

    def submitted(self, reference: str, value: bytes, sealed: bytes) -> Secret:
        """The value of a request: given as it is, or sealed to the vault's key."""
        parsed = parsed_reference(reference)
        if sealed and value:
            raise BadRequest(
                "a value is given as it is or sealed, not both",
                code="BAD_REQUEST",
                fix="one of them",
            )
        if not sealed:
            return Secret(value)
        try:
            return self.keeper.keys.sealing.submissions().open(sealed, parsed)
        except VaultError as error:
            raise BadRequest(error.message, code=str(error.code), fix=error.fix) from None

    def public_key(self) -> bytes:
        """What values can be sealed to."""
        return self.keeper.keys.sealing.submissions().public


def _notebooks(base: Foundation) -> tuple[Notebook, ...]:
    beside = NoteFile(base.estate.home.data / "vault.mark")
    if base.config.vault.root != "keychain":
        return (beside,)
    account = f"{base.estate.trust_domain}/mark"
    return beside, KeychainNotes(KeychainNote(KEYCHAIN_SERVICE, account, NOTE_SECONDS))
