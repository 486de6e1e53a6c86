"""Contents are kept for so long, and up to so much; then they go, and a receipt says that they did.

Trusted to prune what is over and nothing of the ledger: receipts keep the digest of all that was
pruned, so evidence, proofs and verification stay what they were. Each batch is one transaction with
its receipt, so others get their turn between two. Raises nothing: a fault of the store is logged,
and the next hour tries again.
"""

from dataclasses import dataclass, field
from functools import partial
from typing import Final

import anyio
import structlog

from daemon.clock import Clock
from daemon.config import Ledger
from daemon.errors import Unavailable
from daemon.store import redaction, retention, shares
from daemon.store.commit import Tx
from daemon.store.reader import Reader
from daemon.store.retention import Pruned
from daemon.store.shares import Taken
from daemon.store.writer import Writer
from ledger.receipt import format_time

_log = structlog.get_logger("stockade.retention")

FIRST_SECONDS: Final = 5.0
EVERY_SECONDS: Final = 3600.0
SOON_SECONDS: Final = 30.0
"""Where not all contents are kept."""
_DAY_MS: Final = 86_400_000
_MIB: Final = 1024 * 1024


@dataclass(slots=True)
class Retention:
    """See the module."""

    config: Ledger
    reader: Reader
    writer: Writer
    clock: Clock
    # Whether what was taken may still be in the database's log: somebody read an older state.
    unscrubbed: bool = field(default=False, init=False)

    async def keep(self) -> None:
        """Its task."""
        await anyio.sleep(FIRST_SECONDS)
        while True:
            try:
                await self.run()
            except Unavailable as error:
                _log.warning("retention.failed", reason=error.code, message=error.message)
            rarely = self.config.contents == "full" and not self.unscrubbed
            await anyio.sleep(EVERY_SECONDS if rarely else SOON_SECONDS)

    async def run(self) -> int:
        """Prune what is redacted but in its copy, what is too old, and what is beyond a share."""
        now = self.clock.now_ms()
        count = await self._without_originals(now)
        if self.config.contents == "none":
            count += await self._until_done(now + 1, "contents")
            place, held = await self.reader.read(retention.held_back)
            for device, much in held.items():
                count += await self._down_to_share(device, much, place)
        elif self.config.retain_days:
            count += await self._until_done(now - self.config.retain_days * _DAY_MS)
        if self.config.retain_mib:
            held = await self.reader.read(shares.sizes)
            room = self.config.retain_mib * _MIB
            for device, much in shares.excess(held, room).items():
                count += await self._down_to_share(device, much)
        if count or self.unscrubbed:
            self.unscrubbed = True
            self.unscrubbed = not await self.writer.scrub()
        return count

    async def _without_originals(self, now: int) -> int:
        """What people were shown of calls of which only a redacted copy stays; how many calls."""
        count = 0
        while found := await self.reader.read(redaction.left):
            taken = await self.writer.write(partial(_redact, call_ids=found, before_ms=now))
            if not taken.anything:
                break
            count += len(found)
        return count

    async def _until_done(self, before_ms: int, cause: str = "age") -> int:
        count = 0
        while True:
            pruned = await self.writer.write(partial(_prune, before_ms=before_ms, cause=cause))
            if not pruned.anything:
                return count
            count += pruned.calls
            _log.info("retention.pruned", calls=pruned.calls, bytes=pruned.size)

    async def _down_to_share(
        self, device: str, much: int, place: tuple[int, str] = (-1, "")
    ) -> int:
        """Its oldest, until it has no more than its share, or nothing more that is over."""
        count = 0
        while much > 0:
            taken = await self.writer.write(partial(_take, device=device, after=place, enough=much))
            if taken.anything:
                _log.info("retention.pruned", device=device, calls=taken.calls, bytes=taken.size)
            count, much = count + taken.calls, much - taken.size
            if taken.place is None:
                break
            place = taken.place
        return count


def _prune(tx: Tx, before_ms: int, cause: str) -> Pruned:
    pruned = retention.prune(tx.connection, before_ms)
    if pruned.anything:
        tx.receipt("ledger.pruned", {"cause": cause, **_said(pruned)})
    return pruned


def _redact(tx: Tx, call_ids: list[str], before_ms: int) -> Pruned:
    taken = redaction.take(tx.connection, call_ids, before_ms)
    if taken.anything:
        said = _said(taken)
        del said["bytes"]  # of one statement, the length of what was taken out
        tx.receipt("ledger.pruned", {"cause": "redacted", **said})
    return taken


def _take(tx: Tx, device: str, after: tuple[int, str], enough: int) -> Taken:
    taken = shares.take(tx.connection, device, after, enough)
    if taken.anything:
        tx.receipt("ledger.pruned", {"cause": "size", "device": device, **_said(taken)})
    return taken


def _said(pruned: Pruned | Taken) -> dict[str, object]:
    return {
        "before": format_time(max(0, pruned.before_ms)),
        "calls": pruned.calls,
        "approvals": pruned.approvals,
        "leases": pruned.leases,
        "bytes": pruned.size,
    }
