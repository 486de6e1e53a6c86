"""The whole ledger, looked through while the daemon runs, a little at a time.

A start looks at what came after the last checkpoint. What lies before that a disk may damage, or a
hand, and nobody would know until somebody verifies an export. Trusted to say so within days at the
most, once, and never of a ledger that is as it was signed: what looks wrong is looked at again
before it is told. Finds the first bad entry and goes no further; all else, and who did it, takes
the offline verifier. Costs a few milliseconds of each second, and nothing while it rests. Raises
nothing.
"""

from collections.abc import Callable
from functools import partial
from typing import Final

import anyio
import anyio.to_thread
import structlog

from daemon.errors import Fault
from daemon.ledger.tail import BAD_ENTRY, follow
from daemon.store import receipts
from daemon.store.reader import Reader
from ledger.authentic import Link
from ledger.keys import Keys

_log = structlog.get_logger("stockade.ledger")

FIRST_SECONDS: Final = 60.0
PAUSE_SECONDS: Final = 1.0
PAGE: Final = 50
REST_SECONDS: Final = 3600.0
"""Between the end of the ledger and its beginning."""
DAMAGED: Final = "LEDGER_DAMAGED"
_DAMAGE: Final = frozenset({BAD_ENTRY, "STORE_CORRUPT"})


class Scrutiny:
    """See the module. Belongs to the event loop."""

    def __init__(
        self, reader: Reader, keys: Keys, sequence: Callable[[], int], tell: Callable[[str], None]
    ) -> None:
        self._reader = reader
        self._keys = keys
        self._sequence = sequence
        self._tell = tell
        self.damage = ""
        """What was found, with its code; empty while nothing was."""

    async def keep(self) -> None:
        """Its task: over when something was found."""
        await anyio.sleep(FIRST_SECONDS)
        while not self.damage:
            await self.look_through()
            await anyio.sleep(REST_SECONDS)

    async def look_through(self) -> None:
        """From the first entry to the last that there is now, or to the first that is bad."""
        place, before = 0, None
        while place < self._sequence():
            try:
                place, before = await self._page(place, before)
            except Fault as fault:
                if await self._is_so(place, before, fault):
                    self.damage = f"{DAMAGED}: {fault.message}"
                    _log.error("ledger.damaged", code=fault.code, message=fault.message)
                    self._tell(self.damage)
                    return
            await anyio.sleep(PAUSE_SECONDS)

    async def _page(self, place: int, before: Link | None) -> tuple[int, Link | None]:
        query = partial(receipts.page, chain=self._keys.chain, after=place, limit=PAGE)
        rows = await self._reader.read(query)
        last = await anyio.to_thread.run_sync(follow, rows, self._keys, place, before)
        return place + len(rows), last

    async def _is_so(self, place: int, before: Link | None, fault: Fault) -> bool:
        """Whether it is damage, and there still: keys may have been handed over meanwhile."""
        if fault.code not in _DAMAGE:
            return False  # the store is ill, which is told elsewhere
        await anyio.sleep(PAUSE_SECONDS)
        try:
            await self._page(place, before)
        except Fault as again:
            return again.code == fault.code
        return False
