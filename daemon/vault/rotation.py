"""Changing the root key while everything goes on working.

A change goes forward only: where the next root will be is recorded before it is made, which one it
is before anything is sealed under it; then each secret is wrapped anew, page by page, while both
roots are held; when nothing is left under the old one, the new one is the current one, in the
transaction that sees to that; and only then is the old one removed from its place. Killed between
any two steps, the next start finds in the database what was begun, and finishes it.

Not safe between tasks: `daemon.vault.roots` holds the lock. Leaves `Fault`s.
"""

import secrets as randomness
from dataclasses import dataclass, replace
from typing import Final

import anyio.to_thread
import structlog

from daemon.errors import BadRequest, Conflict, Fault
from daemon.foundation import Foundation
from daemon.store import secrets
from daemon.store.commit import Tx
from daemon.store.secrets import SealedValue
from daemon.vault.keeper import UNLOCK, Keys, VaultKeeper, VaultState
from daemon.vault.mark import Mark, advance
from daemon.vault.notes import Notes
from daemon.vault.pin import repin
from daemon.vault.places import Places, bounded, swap
from daemon.vault.standing import KINDS, Held, Place, Standing
from ledger.chain import Entry
from vault.envelope import SecretVersion, parse_sealed, rewrap
from vault.errors import Code, RootError, VaultError
from vault.reference import Scope, SecretName
from vault.root import RootKey, RootSource
from vault.secret import Secret

_log = structlog.get_logger("stockade.vault")

# So many are wrapped anew before others get their turn at the database.
PAGE: Final = 200


@dataclass(frozen=True, slots=True)
class Rotated:
    """A root key that was changed."""

    root: str
    secrets: int
    entry: Entry
    # What could not be finished, and is for the operator to see to.
    left: tuple[str, ...] = ()


class RootRotation:
    """See the module."""

    def __init__(self, base: Foundation, keeper: VaultKeeper, places: Places, notes: Notes) -> None:
        self._base = base
        self._keeper = keeper
        self._places = places
        self._notes = notes

    async def begin(
        self, kind: str, credential: str, passphrase: Secret | None, principal: str
    ) -> Rotated:
        """Moves all secrets to a new root key in a place of this kind; empty: of the same."""
        keys, standing = self._keeper.keys, await self._places.recorded()
        if standing.next is not None:
            raise Conflict(
                "another change of the root key is not finished",
                code="ROTATION_UNFINISHED",
                fix=UNLOCK,
            )
        place = _next_place(standing, kind, credential)
        source = self._places.source(place, passphrase)
        standing = await self._places.write(replace(standing, next=place))
        try:
            root = await bounded(source.create)
            if root.key_id == standing.current.key_id:
                raise RootError(Code.ROOT_EXISTS, "that is the root key in use", "supply another")
        except (VaultError, Fault) as error:
            await self.give_up(standing, source)
            raise Conflict(str(error.message), code=str(error.code), fix=error.fix) from None
        standing = await self._places.write(replace(standing, next_id=root.key_id))
        self._keeper.hold(Keys(root, {**keys.opening, root.key_id: root}), self._keeper.state)
        return await self.finish(standing, principal)

    async def finish(self, standing: Standing, principal: str = "") -> Rotated:
        """From wherever a change was left to its end; the keys of both roots are held."""
        count, entry = 0, None
        coming = standing.coming()
        if coming is not None:
            keys = self._keeper.keys
            count = await self._wrap_anew(keys.of(standing.current.key_id), keys.sealing)
            standing, entry = await self._take_over(standing, coming, principal)
            state = VaultState(self._places.describe(standing), True)
            self._keeper.hold(Keys(keys.sealing, {keys.sealing.key_id: keys.sealing}), state)
            _log.info("vault.root_rotated", root=state.root, secrets=count)
        left = await self._clear_away(standing)
        await self._base.writer.scrub()
        if entry is None:
            entry = await self._base.writer.write(lambda tx: tx.receipt("vault.root_settled", {}))
        return Rotated(self._keeper.state.root, count, entry, left)

    async def give_up(self, standing: Standing, source: RootSource) -> Standing:
        """Takes back what was begun of a root that nothing is sealed under."""
        try:
            await bounded(source.remove)
        except (VaultError, Fault) as error:
            _log.warning("vault.root_left", what=error.message)
        return await self._places.write(replace(standing, next=None, next_id=""))

    async def _wrap_anew(self, old: RootKey, new: RootKey) -> int:
        """Page by page; what is put meanwhile is sealed under the new root already."""

        def operation(tx: Tx) -> int:
            rows = secrets.under(tx.connection, old.key_id, PAGE)
            for row in rows:
                what = Scope(row.scope), SecretName(row.name), SecretVersion(row.version)
                sealed = rewrap(old, new, *what, parse_sealed(row.sealed))
                secrets.reseal(tx.connection, row, SealedValue(new.key_id, sealed.to_bytes()))
            return len(rows)

        count = 0
        while done := await self._keeper.rows.write(self._base.writer, operation):
            count += done
        return count

    async def _take_over(
        self, standing: Standing, by: Held, principal: str
    ) -> tuple[Standing, Entry]:
        after = standing.taken_over(by)

        def operation(tx: Tx) -> tuple[Mark, Entry]:
            left = secrets.root_key_ids(tx.connection) - {after.current.key_id}
            if left:
                raise Conflict(
                    "something is still sealed under the root before",
                    code="CONFLICT",
                    fix="`stockade secrets rotate --root` goes on where it stopped",
                )
            swap(tx, standing, after)
            body = {
                "principal": principal or "stockaded",
                "from": {"kind": standing.current.place.kind, "key": standing.current.key_id},
                "to": {"kind": after.current.place.kind, "key": after.current.key_id},
            }
            return advance(tx), tx.receipt("vault.root_rotated", body, principal=principal or None)

        mark, entry = await self._base.writer.write(operation)
        await self._notes.note(mark)
        return after, entry

    async def _clear_away(self, standing: Standing) -> tuple[str, ...]:
        """Removes the roots before, and has the configuration name the new one."""
        left: list[str] = []
        kept: list[Place] = []
        for place in standing.retired:
            source = self._places.source(place)
            try:
                await bounded(source.remove)
            except (VaultError, Fault) as error:
                left.append(f"{error.message}; {error.fix}")
                if error.code is not Code.ROOT_KEPT_ELSEWHERE:
                    kept.append(place)
        if standing.repin:
            try:
                kind = standing.current.place.kind
                await anyio.to_thread.run_sync(repin, self._base.estate.home.config_file, kind)
                self._places.pinned = kind
                standing = await self._places.write(replace(standing, repin=False))
            except Fault as fault:
                left.append(f"{fault.message}; {fault.fix}")
        if standing.retired != tuple(kept):
            await self._places.write(replace(standing, retired=tuple(kept)))
        for one in left:
            _log.warning("vault.root_left", what=one)
        return tuple(left)


def _next_place(standing: Standing, kind: str, credential: str) -> Place:
    wanted = kind or standing.current.place.kind
    if wanted not in KINDS:
        raise BadRequest(
            f"there is no root {wanted!r:.40}",
            code="UNKNOWN_ROOT",
            fix=f"one of {', '.join(KINDS)}",
        )
    label = credential if wanted == "credential" else randomness.token_hex(4)
    place = Place(wanted, label)  # type: ignore[arg-type]  # it is one of KINDS
    if place == standing.current.place:
        raise BadRequest(
            "the root key is supplied: another one has to be, under another name",
            code="ROOT_KEPT_ELSEWHERE",
            fix="add a credential with a new root to the unit, and name it: --credential NAME",
        )
    return place
