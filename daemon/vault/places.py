"""The places of root keys: what the database says of them, and what opens each.

Trusted to change what is recorded only by compare-and-swap, and to let no place of a kind that the
configuration does not pin be used. Leaves `Conflict` (VAULT_ROOT_PINNED) and the store's faults.
"""

from collections.abc import Callable
from typing import Final, TypeVar

import anyio
import anyio.to_thread

from daemon.errors import Conflict, Unavailable
from daemon.foundation import Foundation
from daemon.store import meta
from daemon.store.commit import Tx
from daemon.vault.keeper import UNLOCK
from daemon.vault.root import source_at
from daemon.vault.standing import META_KEY, Place, RootKind, Standing
from vault.root import RootSource
from vault.secret import Secret

T = TypeVar("T")

# A keychain may ask its owner to unlock it; a daemon must not wait for that for ever.
DEADLINE_SECONDS: Final = 20


class Places:
    """See the module."""

    def __init__(self, base: Foundation) -> None:
        self._base = base
        self.pinned: RootKind | None = base.config.vault.root

    async def standing(self) -> Standing | None:
        """What is recorded."""
        stored = await self._base.reader.read(lambda connection: meta.get(connection, META_KEY))
        return Standing.decode(stored)

    async def recorded(self) -> Standing:
        """What is recorded, where a root was ever in use."""
        standing = await self.standing()
        if standing is None:
            raise Unavailable(
                "no root key was ever in use", code="VAULT_UNAVAILABLE", fix="`stockade status`"
            )
        return standing

    async def write(self, after: Standing, *, taken: bool = False) -> Standing:
        """Records where the roots are; one task at a time."""

        def operation(tx: Tx) -> None:
            swap(tx, Standing.decode(meta.get(tx.connection, META_KEY)), after)
            if taken:
                body = {"kind": after.current.place.kind, "key": after.current.key_id}
                tx.receipt("vault.root_taken", body)

        await self._base.writer.write(operation)
        return after

    def source(self, place: Place, passphrase: Secret | None = None) -> RootSource:
        """What holds the root of a place."""
        return source_at(place, self._base.estate, self._base.config.vault, passphrase)

    def place(self, standing: Standing | None) -> Place | None:
        """Where the root in use is, or will be; None while nothing is chosen."""
        if standing is not None:
            return standing.current.place
        return Place(self.pinned) if self.pinned else None

    def describe(self, standing: Standing | None) -> str:
        """That place, for people."""
        place = self.place(standing)
        return "not chosen" if place is None else self.source(place).describe()

    def check_pin(self, standing: Standing | None) -> None:
        """Refuses a kind of place that is not the pinned one."""
        if standing is None or standing.repin or self.pinned == standing.current.place.kind:
            return
        kind = standing.current.place.kind
        raise Conflict(
            f"the configuration pins the root {self.pinned or 'not chosen'!r}, but secrets are"
            f" sealed under the one in {kind!r}",
            code="VAULT_ROOT_PINNED",
            fix=f'write root = "{kind}" in its [vault] section, restart, and change it with'
            " `stockade secrets rotate --root`",
        )


def swap(tx: Tx, before: Standing | None, after: Standing) -> None:
    """Records a change of standing, in a transaction."""
    old = None if before is None else before.encode()
    if not meta.swap(tx.connection, META_KEY, old, after.encode()):
        raise Conflict("the root key was changed by somebody else", code="CONFLICT", fix=UNLOCK)


async def bounded(act: Callable[[], T]) -> T:
    """In a thread that is left behind if it takes too long."""
    try:
        with anyio.fail_after(DEADLINE_SECONDS):
            return await anyio.to_thread.run_sync(act, abandon_on_cancel=True)
    except TimeoutError:
        raise Unavailable(
            f"what holds the root key did not answer in {DEADLINE_SECONDS} s",
            code="KEYCHAIN_SILENT",
            fix="unlock it",
        ) from None
