"""What a start finds of the last run: calls that died under the daemon, and calls that still wait.

Everything found is recorded before the first RPC is served. A call that ran, or may have, is marked
interrupted, once. One that waits for a human goes on waiting if its caller asked to detach; nobody
is attached to the others, so they are cancelled, as they would have been when their caller went.
Where the clock was set back while nobody watched it, no call goes on waiting: each would have time
that nobody gave it.
"""

from dataclasses import dataclass

import structlog

from daemon.calls import records
from daemon.calls.aside import Aside
from daemon.calls.live import Caller
from daemon.clock import Clock
from daemon.identity.devices import Devices
from daemon.leases.keeping import LeaseKeeper
from daemon.lifecycle import Event
from daemon.store import calls
from daemon.store.calls import CallRow, WaitingRow
from daemon.store.reader import Reader
from daemon.store.writer import Writer
from daemon.worlds import Worlds
from ledger.chain import Head
from ledger.receipt import parse_time

_log = structlog.get_logger("stockade.recovery")

# What a clock may be corrected by without anybody noticing.
CLOCK_TOLERANCE_MS = 5000
RESTARTED, SET_BACK = "DAEMON_RESTARTED", "CLOCK_SET_BACK"


@dataclass(frozen=True, slots=True)
class Recovery:
    """See the module."""

    worlds: Worlds
    devices: Devices
    reader: Reader
    writer: Writer
    clock: Clock
    aside: Aside
    leases: LeaseKeeper
    # The ledger's end as the last run left it.
    head: Head | None

    async def run(self) -> None:
        """Finds, records, sets aside what waits."""
        for row in await self.reader.read(calls.begun):
            await self._interrupt(row)
        set_back = self._is_set_back()
        for waiting in await self.reader.read(calls.waiting):
            caller = self._caller(waiting)
            doomed = SET_BACK if set_back else "" if self._fits(waiting, caller) else RESTARTED
            if doomed:
                _log.warning("call.not_taken_up", call=waiting.call_id, reason=doomed)
            self.aside.add(str(waiting.call_id), caller or _gone(waiting), doomed)
        await self.aside.end_doomed()
        await self.leases.load(set_back=set_back)

    def _is_set_back(self) -> bool:
        if self.head is None:
            return False
        behind = parse_time(self.head.time) - self.clock.now_ms()
        if behind > CLOCK_TOLERANCE_MS:
            _log.warning("clock.set_back", behind_ms=behind)
        return behind > CLOCK_TOLERANCE_MS

    def _fits(self, row: WaitingRow, caller: Caller | None) -> bool:
        """Whether it can still be what its approvers were shown, and somebody comes back for it."""
        tool = self.worlds.current.registry.get(row.tool)
        return (
            row.detach
            and caller is not None
            and tool is not None
            and tool.digest == row.tool_digest
        )

    def _caller(self, row: WaitingRow) -> Caller | None:
        principal = self.devices.of_call(row.principal, str(row.device_id), row.origin)
        return None if principal is None else Caller.of(principal)

    async def _interrupt(self, row: CallRow) -> None:
        now, event = self.clock.now_ms(), Event.INTERRUPT
        await self.writer.write(lambda tx: records.move_stored(tx, row, event, "DAEMON_DIED", now))
        _log.warning("call.interrupted", call=row.call_id, tool=row.tool)


def _gone(row: WaitingRow) -> Caller:
    return Caller(str(row.device_id), "", "")
