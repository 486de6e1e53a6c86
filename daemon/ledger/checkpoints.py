"""Checkpoints of the ledger: signed by time and by count, kept here, and handed to every place.

Trusted to sign only what follows every checkpoint signed before: the consistency proof that a
stranger would verify is verified here first, so neither a damaged tree nor receipts that were
edited behind the daemon get a signature. Status says what keeps one from being signed or handed on.

A start holds the ledger against the last checkpoint of its own and against the one in the
operator's file: a database that was put back, or another in its place, is not continued; nor is one
whose receipts since then are not as they were signed. Raises
`CheckpointFault` (an Unavailable), StartError from `check_start`, and StoreFault.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

import anyio
import anyio.to_thread
import structlog

from daemon.errors import StartError, Unavailable
from daemon.ledger.checkpoint_delivery import Delivery, all_have
from daemon.ledger.checkpoint_places import KeptFile, Place
from daemon.ledger.keys import LedgerKeys
from daemon.ledger.tail import check_tail
from daemon.ledger.tree import LedgerTree
from daemon.store import rotations, tree
from daemon.store.commit import Tx
from daemon.store.reader import Reader
from daemon.store.tree import CheckpointRow
from daemon.store.writer import Writer
from daemon.ticks import tick
from ledger.checkpoint import Checkpoint, check_advance, parse_checkpoint, sign
from ledger.errors import CheckpointError, LedgerError

_log = structlog.get_logger("stockade.checkpoints")

LOOK_SECONDS: Final = 1.0
PAUSE_SECONDS: Final = 60.0
LAST_SECONDS: Final = 3.0
"""How long the places are given for the checkpoint of the daemon's end."""


class CheckpointFault(Unavailable):
    """No checkpoint can be signed: the ledger does not follow the one before."""

    code = "LEDGER_FORKED"


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often."""

    seconds: float
    receipts: int


class Checkpoints:
    """See the module. `keep` is its task; `take` may be asked by anybody."""

    def __init__(
        self,
        keys: LedgerKeys,
        reader: Reader,
        writer: Writer,
        now_ms: Callable[[], int],
        *,
        rhythm: Rhythm,
        places: Sequence[Place],
    ) -> None:
        self._keys = keys
        self._reader = reader
        self._writer = writer
        self._now_ms = now_ms
        self._rhythm = rhythm
        self._lock = anyio.Lock()
        self._latest: CheckpointRow | None = None
        self._fault: Unavailable | None = None
        self._absent: list[str] = []
        self.tree: Final = LedgerTree(keys.chain, reader, writer)
        self.deliveries: Final = tuple(Delivery(place) for place in places)

    @property
    def latest(self) -> CheckpointRow | None:
        """The newest checkpoint, once there is one."""
        return self._latest

    @property
    def state(self) -> str:
        """Whether checkpoints can be signed: "ok", or what keeps them from it."""
        fault = self._fault
        return "ok" if fault is None else f"{fault.code}: {fault.message}"

    async def check_start(self) -> None:
        """Refuse a ledger that is not the one that was vouched for, or something later."""
        self._latest = await self._reader.read(
            lambda c: tree.latest_checkpoint(c, self._keys.chain)
        )
        if self._latest is not None:
            await self._check(self._own(self._latest), "the database")
        for delivery in self.deliveries:
            if isinstance(delivery.place, KeptFile):
                found = await anyio.to_thread.run_sync(delivery.place.read)
                if found is not None:
                    await self._check(found, str(delivery.place.path))
                elif self._latest is not None:
                    self._absent.append(str(delivery.place.path))
        vouched = 0 if self._latest is None else self._latest.size
        await check_tail(self._reader, self._keys, vouched, self._sequence())

    @asynccontextmanager
    async def holding(self) -> AsyncIterator[None]:
        """No checkpoint is signed meanwhile: the keys change."""
        async with self._lock:
            yield

    async def take(self) -> CheckpointRow:
        """A checkpoint of everything that is durable now."""
        async with self._lock:
            try:
                row = await self._take()
            except LedgerError as error:
                self._fault = CheckpointFault(
                    f"the ledger does not follow its last checkpoint: {error.message}",
                    fix="stop the daemon; verify an export against the checkpoints kept elsewhere",
                )
                _log.error("checkpoint.refused", message=error.message)
                raise self._fault from error
            self._fault = None
        self._hand_on(row)
        return row

    async def keep(self) -> None:
        """Sign by time and by count, and deliver, for as long as the daemon lives."""
        for path in self._absent:
            # New in the configuration, or moved away: then the ledger says when that was.
            body: dict[str, object] = {"file": path}
            await self._writer.write(partial(_record, "ledger.checkpoint_file_absent", body))
        async with anyio.create_task_group() as group:
            for delivery in self.deliveries:
                group.start_soon(delivery.attend)
            if self._latest is not None:
                self._hand_on(self._latest)
            while True:
                await tick(LOOK_SECONDS)
                if not self._is_due():
                    continue
                try:
                    await self.take()
                except Unavailable as error:
                    _log.warning("checkpoint.failed", reason=error.code, message=error.message)
                    await anyio.sleep(PAUSE_SECONDS)

    async def end(self) -> None:
        """The last one, and a moment for the places to get it; what fails is in the log."""
        try:
            row = await self.take()
        except Unavailable as error:
            _log.warning("checkpoint.failed", reason=error.code, message=error.message)
            return
        with anyio.move_on_after(LAST_SECONDS):
            await all_have(self.deliveries, row.size)

    def _hand_on(self, row: CheckpointRow) -> None:
        for delivery in self.deliveries:
            delivery.put(row)

    def _own(self, row: CheckpointRow) -> Checkpoint:
        """The stored checkpoint, verified like anybody's: the database is not signed."""
        try:
            return parse_checkpoint(row.note, self._keys)
        except CheckpointError as error:
            raise _not_continued("the database", error.message, "LEDGER_FORKED") from error

    async def _check(self, kept: Checkpoint, where: str) -> None:
        size = self._sequence()
        if size < kept.size:
            why = f"it vouches for {kept.size} receipts, and there are {size}"
            raise _not_continued(where, why, "LEDGER_ROLLED_BACK")
        try:
            same = await self.tree.root(kept.size) == kept.root
        except LedgerError:
            same = False
        if not same:
            why = f"the first {kept.size} receipts are not the ones it vouches for"
            raise _not_continued(where, why, "LEDGER_FORKED")

    async def _take(self) -> CheckpointRow:
        size, latest = self._sequence(), self._latest
        if latest is not None and latest.size == size:
            return latest
        taken = Checkpoint(self._keys.chain, size, await self.tree.root(size))
        if latest is not None:
            proof = await self.tree.consistency(min(latest.size, size), size)
            check_advance(parse_checkpoint(latest.note, self._keys), taken, proof)
        await self._require_known_keys()
        note = await anyio.to_thread.run_sync(sign, taken, self._keys.signing)
        row = CheckpointRow(taken.chain, size, note, self._now_ms())
        await self._writer.write(lambda tx: tree.add_checkpoint(tx.connection, row))
        self._latest = row
        return row

    async def _require_known_keys(self) -> None:
        """With keys that were handed over meanwhile, nobody would believe it; nor would a start."""
        numbers = await self._reader.read(lambda c: rotations.numbers(c, self._keys.chain))
        if numbers != [one.sequence for one in self._keys.lineage.rotations]:
            raise Unavailable(
                "the ledger was handed over to other keys than those that sign here",
                code="LEDGER_KEYS_OTHER",
                fix="start the daemon again: it takes up the keys that the ledger names",
            )

    def _sequence(self) -> int:
        head = self._writer.head
        return 0 if head is None else head.sequence

    def _is_due(self) -> bool:
        size, latest = self._sequence(), self._latest
        fresh = size - (0 if latest is None else latest.size)
        if fresh <= 0 or latest is None:
            return fresh > 0
        passed_ms = self._now_ms() - latest.made_ms
        return fresh >= self._rhythm.receipts or passed_ms >= 1000 * self._rhythm.seconds


def _record(kind: str, body: dict[str, object], tx: Tx) -> None:
    tx.receipt(kind, body)


def _not_continued(where: str, why: str, code: str) -> StartError:
    return StartError(
        f"the ledger is not the one that the checkpoint in {where} vouches for: {why}",
        code=code,
        fix="put the newer database back; to go on with this one all the same, keep that checkpoint"
        " elsewhere and move it away: docs/ledger.md",
    )
