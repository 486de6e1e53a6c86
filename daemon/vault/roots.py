"""Taking up the root key: at the start, and whenever somebody has seen to what kept it away.

Trusted to take up the root key that secrets are sealed under, in the place that is pinned, and no
other; and nothing at all if the database was put back to an older state. What a daemon that died
had begun is finished then. Leaves `Fault`s; from `unlock` only the vault's `RootError` for a root
that others could have read or planted, at the start: a person has to see to that before anything
is served.
"""

from typing import Final

import anyio

from daemon.errors import Conflict, Fault
from daemon.foundation import Foundation
from daemon.store import meta, secrets
from daemon.store.commit import Tx
from daemon.vault.keeper import ROLLED_BACK, UNLOCK, Keys, VaultKeeper, VaultState
from daemon.vault.mark import META_KEY as MARK_KEY
from daemon.vault.mark import Mark, advance
from daemon.vault.notes import Notes
from daemon.vault.places import Places, bounded
from daemon.vault.root import unchosen
from daemon.vault.rotation import RootRotation, Rotated
from daemon.vault.standing import Held, Place, Standing
from ledger.chain import Entry
from vault.errors import Code, RootError, VaultError
from vault.root import RootKey, RootKeyId, RootSource
from vault.secret import Secret

# Mended in the configuration, which is read at the start.
_BY_RESTART: Final = ("VAULT_ROOT_PINNED",)
_NOT_PRIVATE: Final = (Code.ROOT_EXPOSED, Code.ROOT_WRONG_OWNER, Code.ROOT_NOT_REGULAR)


class Roots:
    """See the module."""

    def __init__(self, base: Foundation, keeper: VaultKeeper, notes: Notes) -> None:
        self._base = base
        self._keeper = keeper
        self._notes = notes
        self._places = Places(base)
        self._rotation = RootRotation(base, keeper, self._places, notes)
        self._lock = anyio.Lock()

    async def unlock(
        self, passphrase: Secret | None = None, *, create: bool = False, starting: bool = False
    ) -> VaultState:
        """Tries to get the root key; the state says how that went."""
        async with self._lock:
            try:
                keys, standing = await self._take_up(passphrase, create)
            except (VaultError, Fault, OSError) as error:
                code = getattr(error, "code", "SYSTEM_REFUSED")
                if starting and code in _NOT_PRIVATE:
                    raise
                state = await self._unavailable(str(code), error)
                self._keeper.hold(None, state)
                return state
            self._keeper.hold(keys, VaultState(self._places.describe(standing), True))
            if standing.next or standing.retired or standing.repin:
                await self._rotation.finish(standing)
            return self._keeper.state

    async def rotate(
        self, kind: str, credential: str, passphrase: Secret | None, principal: str
    ) -> Rotated:
        """Moves all secrets to a new root key in a place of this kind; empty: of the same."""
        async with self._lock:
            return await self._rotation.begin(kind, credential, passphrase, principal)

    async def accept_rollback(self, principal: str) -> Entry:
        """Takes the database as it is for the vault's state from now on."""
        if self._keeper.state.code != ROLLED_BACK:
            raise Conflict(
                "nothing says that the vault was put back to an older state",
                code="NOT_ROLLED_BACK",
                fix="`stockade status` says what is the matter",
            )
        noted = await self._notes.read()

        def operation(tx: Tx) -> tuple[Mark, Entry]:
            mark = advance(tx)
            body = {
                "principal": principal,
                "count": mark.count,
                "noted": min(noted.count, 2**53 - 1) if noted else None,
            }
            return mark, tx.receipt("vault.rollback_accepted", body, principal=principal)

        mark, entry = await self._base.writer.write(operation)
        await self._notes.note(mark, anyway=True)
        await self.unlock()
        return entry

    async def _take_up(self, passphrase: Secret | None, create: bool) -> tuple[Keys, Standing]:
        """The root keys that secrets are sealed under, if they are the right ones."""
        standing = await self._places.standing()
        used = await self._base.reader.read(secrets.root_key_ids)
        self._places.check_pin(standing)
        place = self._places.place(standing)
        if place is None:
            raise unchosen()
        source = self._places.source(place, passphrase)
        may_create = create and standing is None and not used
        root = await bounded(lambda: _loaded(source, may_create))
        if standing is None:
            for key_id in used:
                root.require(RootKeyId(key_id))
            standing = await self._places.write(Standing(Held(place, root.key_id)), taken=True)
        root.require(RootKeyId(standing.current.key_id))
        await self._check_mark()
        keys = Keys(root, {root.key_id: root})
        if standing.next is None:
            return keys, standing
        return await self._with_next(keys, standing, standing.next, passphrase)

    async def _with_next(
        self, keys: Keys, standing: Standing, place: Place, passphrase: Secret | None
    ) -> tuple[Keys, Standing]:
        """With the root that was to take over, unless nothing can be sealed under it yet."""
        source = self._places.source(place, passphrase)
        if not standing.next_id:
            return keys, await self._rotation.give_up(standing, source)
        root = await bounded(source.load)
        root.require(RootKeyId(standing.next_id))
        return Keys(root, {**keys.opening, root.key_id: root}), standing

    async def _check_mark(self) -> None:
        noted = await self._notes.read()
        stored = Mark.decode(
            await self._base.reader.read(lambda connection: meta.get(connection, MARK_KEY))
        )
        if noted is None and stored.count:
            why = "the note of how far the vault had come is gone"
        elif noted is not None and not stored.follows(noted):
            why = "the database is older than the vault was, or another"
        else:
            await self._notes.note(stored)
            return
        raise Conflict(
            f"{why}: secrets in it may have been removed or replaced since",
            code=ROLLED_BACK,
            fix="restore the newer database; or, if this one is to be used,"
            " `stockade secrets accept-rollback`",
        )

    async def _unavailable(self, code: str, error: Exception) -> VaultState:
        message, fix = str(getattr(error, "message", error)), str(getattr(error, "fix", ""))
        if UNLOCK not in fix and code not in _BY_RESTART:
            fix = f"{fix}; then {UNLOCK}" if fix else UNLOCK
        root = self._places.describe(await self._places.standing())
        return VaultState(root, False, code, message, fix)


def _loaded(source: RootSource, may_create: bool) -> RootKey:
    try:
        return source.load()
    except RootError as error:
        if error.code is Code.ROOT_ABSENT and may_create:
            return source.create()
        raise
