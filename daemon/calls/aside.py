"""Calls that wait for a person in the database alone, because nobody looks at them.

Ten thousand may wait: what is kept of each here is whose it is. Whoever asks for one has it taken
up again (`daemon.calls.revival`). Trusted that none is forgotten: each ends when its time is over,
or when it has to end before that, and what could not be recorded is tried again until it is.
Raises nothing but what reviving raises.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import anyio
import structlog

from daemon.calls import records
from daemon.calls.live import Caller, LiveCall
from daemon.calls.revival import DamagedError, Revival
from daemon.calls.room import Room
from daemon.clock import Clock
from daemon.errors import Fault
from daemon.lifecycle import Event, State
from daemon.store import approvals, calls
from daemon.store.approvals import ApprovalState
from daemon.store.commit import Tx
from daemon.store.ids import CallId
from daemon.store.reader import Reader
from daemon.store.writer import Writer
from daemon.ticks import next_tick

_log = structlog.get_logger("stockade.calls")

TICK_SECONDS = 0.5
# To a transaction: others wait for it.
BATCH = 100


class _End(NamedTuple):
    """How a call has to end."""

    approval: ApprovalState
    event: Event
    reason: str


_EXPIRED = _End(ApprovalState.EXPIRED, Event.EXPIRE, "NOBODY_ANSWERED")
_DAMAGED = _End(ApprovalState.WITHDRAWN, Event.DENY, "APPROVAL_DAMAGED")


class Aside:
    """See the module."""

    def __init__(
        self,
        revival: Revival,
        reader: Reader,
        writer: Writer,
        clock: Clock,
        changed: Callable[[str], None],
        room: Room,
    ) -> None:
        self._revival = revival
        self._reader = reader
        self._writer = writer
        self._clock = clock
        self._changed = changed
        self._callers: dict[str, Caller] = {}
        self._room = room
        self._doomed: dict[str, _End] = {}
        self._stirred = anyio.Event()

    def __len__(self) -> int:
        """How many there are."""
        return len(self._callers)

    def __contains__(self, call_id: str) -> bool:
        """Whether that call waits here."""
        return call_id in self._callers and call_id not in self._doomed

    def add(self, call_id: str, caller: Caller, cancelled: str = "") -> None:
        """Sets a call aside; one that was cancelled, and could not be recorded as that, ends."""
        self._forget(call_id)
        self._callers[call_id] = caller
        self._room.take(caller.device_id, 1)
        if cancelled:
            self._doom(call_id, _End(ApprovalState.WITHDRAWN, Event.CANCEL, cancelled))

    async def revive(self, call_id: str) -> LiveCall | None:
        """The call as it was; `take` it if it is still here then."""
        try:
            return await self._revival.revive(call_id)
        except DamagedError:
            _log.error("approval.damaged", call=call_id)
            self._doom(call_id, _DAMAGED)
            return None

    def take(self, call_id: str) -> bool:
        """Takes a call away from here; whether it still was."""
        return call_id not in self._doomed and self._forget(call_id)

    def end_all(self, which: Callable[[Caller], bool], reason: str) -> None:
        """Ends all calls of these callers, soon."""
        for call_id, caller in self._callers.items():
            if which(caller):
                self._doom(call_id, _End(ApprovalState.WITHDRAWN, Event.CANCEL, reason))

    async def keep(self) -> None:
        """Ends each in its time, for as long as the daemon runs."""
        while True:
            with anyio.CancelScope(deadline=next_tick(TICK_SECONDS)):
                await self._stirred.wait()
            self._stirred = anyio.Event()
            try:
                await self._end_due()
            except Fault as fault:
                _log.error("calls.not_ended", reason=fault.code)
                await anyio.sleep(TICK_SECONDS)

    async def end_doomed(self) -> None:
        """Ends those that have to end already; raises the store's faults."""
        while self._doomed:
            await self._end(list(self._doomed.items())[:BATCH])

    def _forget(self, call_id: str) -> bool:
        caller = self._callers.pop(call_id, None)
        if caller is None:
            return False
        self._room.give_back(caller.device_id, 1)
        return True

    def _doom(self, call_id: str, end: _End) -> None:
        self._doomed.setdefault(call_id, end)
        self._stirred.set()

    async def _end_due(self) -> None:
        await self.end_doomed()
        while ours := [call_id for call_id in await self._due() if call_id in self._callers]:
            for call_id in ours:
                self._doom(call_id, _EXPIRED)
            await self.end_doomed()

    async def _due(self) -> list[str]:
        if not self._callers:
            return []
        now = self._clock.now_ms()
        due = await self._reader.read(lambda c: approvals.due(c, now_ms=now, limit=BATCH))
        return [str(call_id) for call_id in due]

    async def _end(self, ends: Sequence[tuple[str, _End]]) -> None:
        """Doomed calls are revived by nobody: this alone moves them."""

        def operation(tx: Tx) -> list[str]:
            now = self._clock.now_ms()
            return [one for call_id, end in ends for one in _end(tx, CallId(call_id), end, now)]

        changed = await self._writer.write(operation)
        for call_id, _ in ends:
            self._doomed.pop(call_id, None)
            self._forget(call_id)
        for approval_id in changed:
            self._changed(approval_id)


def _end(tx: Tx, call_id: CallId, end: _End, now: int) -> list[str]:
    """Ends one; the approvals that changed with it."""
    row = calls.get(tx.connection, call_id)
    if row is None or row.state is not State.PENDING_APPROVAL:
        return []
    settled = [
        str(one.approval_id)
        for one in approvals.of_call(tx.connection, call_id)
        if approvals.settle(tx.connection, one.approval_id, end.approval, now_ms=now)
    ]
    records.move_stored(tx, row, end.event, end.reason, now)
    return settled
