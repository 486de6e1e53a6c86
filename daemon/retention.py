"""Contents are kept for so long, and up to so much; then they go, and a receipt says that they did.

Trusted to prune what is over and nothing of the ledger: receipts keep the digest of all that was
pruned, so evidence, proofs and verification stay what they were. Each batch is one transaction with
its receipt, so others get their turn between two. Raises nothing: a fault of the store is logged,
and the next hour tries again.
"""

from dataclasses import dataclass
from functools import partial
from typing import Final

import anyio
import structlog

from daemon.clock import Clock
from daemon.config import Ledger
from daemon.errors import Unavailable
from daemon.store import retention
from daemon.store.commit import Tx
from daemon.store.reader import Reader
from daemon.store.retention import Pruned
from daemon.store.writer import Writer
from ledger.receipt import format_time

_log = structlog.get_logger("stockade.retention")

FIRST_SECONDS: Final = 5.0
EVERY_SECONDS: Final = 3600.0
_DAY_MS: Final = 86_400_000
_MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Retention:
    """See the module."""

    config: Ledger
    reader: Reader
    writer: Writer
    clock: Clock

    async def keep(self) -> None:
        """Its task."""
        await anyio.sleep(FIRST_SECONDS)
        while True:
            try:
                await self.run()
            except Unavailable as error:
                _log.warning("retention.failed", reason=error.code, message=error.message)
            await anyio.sleep(EVERY_SECONDS)

    async def run(self) -> int:
        """Prune what is too old, then the oldest of what is too much; how many calls."""
        count, now = 0, self.clock.now_ms()
        if self.config.retain_days:
            count += await self._until_done(now - self.config.retain_days * _DAY_MS, None)
        if self.config.retain_mib:
            over = await self.reader.read(retention.size) - self.config.retain_mib * _MIB
            if over > 0:
                count += await self._until_done(now, over)
        if count:
            await self.writer.scrub()
        return count

    async def _until_done(self, before_ms: int, wanted: int | None) -> int:
        count = 0
        while wanted is None or wanted > 0:
            pruned = await self.writer.write(partial(_prune, before_ms=before_ms, enough=wanted))
            if not pruned.anything:
                break
            count += pruned.calls
            wanted = None if wanted is None else wanted - pruned.size
            _log.info("retention.pruned", calls=pruned.calls, bytes=pruned.size)
        return count


def _prune(tx: Tx, before_ms: int, enough: int | None) -> Pruned:
    pruned = retention.prune(tx.connection, before_ms, enough=enough)
    if pruned.anything:
        body = {
            "cause": "age" if enough is None else "size",
            "before": format_time(max(0, pruned.before_ms)),
            "calls": pruned.calls,
            "approvals": pruned.approvals,
            "leases": pruned.leases,
            "bytes": pruned.size,
        }
        tx.receipt("ledger.pruned", body)
    return pruned
