"""Rotating the ledger's keys: by one receipt, which the old keys and the new have signed.

The new keys are on the disk before the receipt, and in the place of the old ones after it; whatever
moment the daemon is killed in, the next start finds the ones that the ledger names. No checkpoint
is signed meanwhile. Raises `Conflict`, `Unavailable` and StoreFault.
"""

from functools import partial

import anyio
import anyio.to_thread
import structlog

from daemon.errors import Conflict, Unavailable
from daemon.ledger.checkpoints import Checkpoints
from daemon.ledger.key_files import LedgerKeyFiles
from daemon.ledger.keys import LedgerKeys, followed
from daemon.store import rotations
from daemon.store.commit import Tx
from daemon.store.faults import StoreFault
from daemon.store.reader import Reader
from daemon.store.writer import Writer
from identity.errors import IdentityError
from ledger.chain import Entry
from ledger.export import encode_line
from ledger.keys import Signing
from ledger.lineage import MAX_ROTATIONS, Lineage, lineage_of
from ledger.rotation import KIND, rotation_body, seal

_log = structlog.get_logger("stockade.ledger")


class LedgerRotation:
    """See the module."""

    def __init__(
        self,
        keys: LedgerKeys,
        files: LedgerKeyFiles,
        reader: Reader,
        writer: Writer,
        checkpoints: Checkpoints,
    ) -> None:
        self._keys = keys
        self._files = files
        self._reader = reader
        self._writer = writer
        self._checkpoints = checkpoints

    async def rotate(self, principal: str) -> Entry:
        """New keys, from the next receipt on."""
        async with self._checkpoints.holding():
            # Not to be left half-way by whoever asked and went.
            with anyio.CancelScope(shield=True):
                entry = await self._rotate(principal)
        await self._checkpoints.take()
        return entry

    async def _rotate(self, principal: str) -> Entry:
        old, before = self._keys.signing, self._keys.lineage
        numbers = [one.sequence for one in before.rotations]
        if len(numbers) >= MAX_ROTATIONS:
            raise Conflict(
                f"the ledger's keys were rotated {MAX_ROTATIONS} times",
                code="TOO_MANY_ROTATIONS",
                fix="begin a new installation: each verifier follows every one of them",
            )
        await self._require_known(numbers)
        new = await self._make(old.chain)
        body = {"principal": principal, **rotation_body(before.current, new.public())}

        def operation(tx: Tx) -> Entry:
            made = tx.hand_over(
                KIND,
                body,
                seal=partial(seal, old=old, new=new),
                signer=new.signer(),
                principal=principal,
            )
            if not rotations.add(tx.connection, old.chain, numbers, made.sequence):
                raise Conflict(
                    "the ledger's keys were rotated meanwhile",
                    code="STORE_CONFLICT",
                    fix="see `stockade ledger tail`, and try again",
                )
            return made

        try:
            entry = await self._writer.write(operation)
        except StoreFault:
            await self._take_up_if_stored(new, numbers)
            raise
        lines = [*(one.line for one in before.rotations), encode_line(entry)]
        await self._take_up(new, lineage_of(before.first, lines))
        return entry

    async def _require_known(self, numbers: list[int]) -> None:
        """Not to write over keys that are in force, and not known here to be."""
        chain = self._keys.chain
        lines = await self._reader.read(lambda c: rotations.lines(c, chain))
        lineage = followed(lines)
        if lineage is None or len(lines) == len(numbers):
            return
        signing = await anyio.to_thread.run_sync(self._files.open, lineage.current)
        self._keys.replace(signing, lineage)
        raise Conflict(
            "the ledger's keys were rotated already, by a write that was reported to have failed",
            code="STORE_CONFLICT",
            fix="see `stockade ledger tail`; rotate again if that is still wanted",
        )

    async def _take_up_if_stored(self, new: Signing, numbers: list[int]) -> None:
        """A write that was reported to have failed may have reached the disk."""
        chain = self._keys.chain
        lines = await self._reader.read(lambda c: rotations.lines(c, chain))
        lineage = followed(lines)
        if lineage is not None and len(lines) > len(numbers) and lineage.current == new.public():
            await self._take_up(new, lineage)

    async def _take_up(self, new: Signing, lineage: Lineage) -> None:
        self._keys.replace(new, lineage)
        _log.info("ledger.keys_rotated", entry=lineage.rotations[-1].sequence)
        try:
            await anyio.to_thread.run_sync(self._files.promote)
            await anyio.to_thread.run_sync(self._files.write_public, lineage)
        except (OSError, IdentityError) as error:
            # The ledger has it; the next start tries again.
            _log.error("ledger.keys_not_moved", reason=type(error).__name__)

    async def _make(self, chain: str) -> Signing:
        try:
            return await anyio.to_thread.run_sync(self._files.add_next, chain)
        except IdentityError as error:
            raise Unavailable(error.message, code=str(error.code), fix=error.fix) from None
