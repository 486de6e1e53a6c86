"""Bringing each checkpoint to each place, however long that takes.

Trusted to let no place hold up another, a call, or the daemon's end: each has its own task, and a
thread that is not waited for. Only the newest checkpoint matters, since it vouches for all before:
a place that was away gets that one. Raises nothing.
"""

from collections.abc import Sequence
from typing import Final

import anyio
import anyio.to_thread
import structlog

from daemon.errors import Unavailable
from daemon.ledger.checkpoint_places import Place
from daemon.store.tree import CheckpointRow

_log = structlog.get_logger("stockade.checkpoints")

RETRY_SECONDS: Final = (1.0, 2.0, 5.0, 15.0, 60.0)


class Delivery:
    """One place: what it has, and what keeps it from having the newest."""

    def __init__(self, place: Place) -> None:
        self.place: Final = place
        self.size = 0
        self.fault: Unavailable | None = None
        self._newest: CheckpointRow | None = None
        self._fresh = anyio.Event()
        self._brought = anyio.Event()

    def put(self, row: CheckpointRow) -> None:
        """There is a newer checkpoint."""
        self._newest = row
        self._fresh.set()

    async def attend(self) -> None:
        """Bring what is put, again and again until it is there."""
        while True:
            await self._fresh.wait()
            self._fresh = anyio.Event()
            failures = 0
            while not await self._bring():
                await anyio.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
                failures += 1

    async def until(self, size: int) -> None:
        """Wait until the place has a checkpoint of at least so many receipts."""
        while self.size < size:
            await self._brought.wait()

    async def _bring(self) -> bool:
        row = self._newest
        if row is None or row.size <= self.size:
            return True
        try:
            # Abandoned where the daemon ends: a disk or a network that hangs must not hold it up.
            await anyio.to_thread.run_sync(self.place.deliver, row.note, abandon_on_cancel=True)
        except Unavailable as error:
            if self.fault is None or self.fault.message != error.message:
                _log.warning(
                    "checkpoint.undelivered",
                    place=self.place.name,
                    reason=error.code,
                    message=error.message,
                )
            self.fault = error
            return False
        self.size, self.fault = row.size, None
        self._brought.set()
        self._brought = anyio.Event()
        return True


async def all_have(deliveries: Sequence[Delivery], size: int) -> None:
    """Wait until every place has a checkpoint of at least so many receipts."""
    for delivery in deliveries:
        await delivery.until(size)
