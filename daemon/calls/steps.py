"""One step of a call: recorded, then told, in that order.

Every write is shielded: a call that is cancelled meanwhile knows what was recorded of it. Raises
the store's faults, and `Conflict` for a call that somebody else has moved.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import anyio

from daemon.calls import records
from daemon.calls.endings import moved
from daemon.calls.live import LiveCall
from daemon.calls.run import Finished
from daemon.calls.tell import tell_ending
from daemon.clock import Clock
from daemon.lifecycle import Event, State, next_state
from daemon.outcome import Ending
from daemon.store.commit import Tx
from daemon.store.faults import StoreFault
from daemon.store.writer import Writer
from ledger.chain import Entry

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Steps:
    """See the module. `changed` is told the id of an approval that is not what it was."""

    writer: Writer
    clock: Clock
    changed: Callable[[str], None]

    def begin(self, operation: Callable[[Tx], T]) -> asyncio.Future[T]:
        """What the operation returns, or why it could not be, once that is certain."""
        try:
            return self.writer.submit(operation)
        except StoreFault as fault:
            refused: asyncio.Future[T] = asyncio.get_running_loop().create_future()
            refused.set_exception(fault)
            return refused

    async def write(
        self, operation: Callable[[Tx], T], meanwhile: Callable[[], None] | None = None
    ) -> T:
        """What the operation returns, once it is durable. For `meanwhile` see the writer."""
        with anyio.CancelScope(shield=True):
            written = await self.writer.submit(operation, meanwhile)
        return written  # noqa: RET504 - the checker takes a scope for one that may swallow

    async def start(
        self,
        live: LiveCall,
        body: Mapping[str, object],
        require: Callable[[], None],
        meanwhile: Callable[[], None],
    ) -> None:
        """Its tool may start, unless `require` raises in the transaction that records it."""
        now = self.clock.now_ms()

        def operation(tx: Tx) -> Entry | None:
            require()
            return records.move(tx, live, Event.START, "STARTED", now, body)

        entry = await self.write(operation, meanwhile)
        if entry is None:
            raise moved(live)
        live.state, live.last_entry = State.RUNNING, entry

    async def finish(
        self,
        live: LiveCall,
        ending: Ending,
        body: Mapping[str, object] | None = None,
        finished: Finished | None = None,
    ) -> None:
        """It has ended; without a body, its receipt has the ending's words."""
        now = self.clock.now_ms()
        told = {"message": ending.message} if body is None else body
        outcome = json.dumps(told).encode()
        output = finished.output if finished is not None else None
        entry = await self.write(
            lambda tx: records.move(
                tx, live, ending.event, ending.reason, now, told, outcome=outcome, output=output
            )
        )
        if entry is None:
            raise moved(live)
        self.end(live, ending, entry, finished)

    def end(
        self, live: LiveCall, ending: Ending, entry: Entry, finished: Finished | None = None
    ) -> None:
        """Tells an end that is recorded."""
        live.state = next_state(live.state, ending.event)
        live.last_entry = entry
        tell_ending(live, ending, self.clock.now_ms(), finished)
        if live.statement is not None:
            self.changed(live.statement.approval_id)
