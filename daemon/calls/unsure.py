"""What became of an answer whose transaction reported an error.

The store says what it can find out at once (daemon.store.commit). What it cannot may be in the
database all the same, and the call that waits for it would wait for what has happened. Trusted to
tell it, as soon as the database can be read, by the receipt: it is there with its digest, or the
answer was never given. Raises nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import anyio
import structlog
from anyio.abc import TaskGroup

from daemon.calls.live import LiveCall
from daemon.calls.settlement import Settlement
from daemon.errors import Fault
from daemon.store import receipts
from daemon.store.leases import LeaseRow
from daemon.store.reader import Reader
from ledger.chain import Entry

_log = structlog.get_logger("stockade.calls")

RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Unsure:
    """See the module."""

    reader: Reader
    chain: str
    group: TaskGroup
    # Told of the lease that came into being with it.
    leased: Callable[[LeaseRow], None]

    def find_out(self, live: LiveCall, settlement: Settlement) -> None:
        """Tells the call of the settlement, if that is in the database."""
        live.hold()
        self.group.start_soon(self._find_out, live, settlement)

    async def _find_out(self, live: LiveCall, settlement: Settlement) -> None:
        try:
            if settlement.call_entry and await self._is_there(live, settlement.call_entry):
                if settlement.lease is not None:
                    self.leased(settlement.lease)
                settlement.apply(live)
        finally:
            live.release()

    async def _is_there(self, live: LiveCall, entry: Entry) -> bool:
        while not live.done.is_set():
            try:
                found = await self.reader.read(
                    lambda c: receipts.page(c, self.chain, after=entry.sequence - 1, limit=1)
                )
            except Fault as fault:
                _log.warning("answer.unsure", call=live.call_id, reason=fault.code)
                await anyio.sleep(RETRY_SECONDS)
                continue
            return bool(found) and found[0].entry.digest == entry.digest
        return False
