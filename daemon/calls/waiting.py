"""A call that waits for a person: until there is an answer, its time is over, or it is withdrawn.

Trusted that exactly one of these ends the waiting, whichever the database has first, and that a
settlement which no answer here explains is not believed. Raises what `daemon.calls.steps` does.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import anyio

from daemon.calls import records
from daemon.calls.endings import (
    APPROVAL_DAMAGED,
    NOBODY_ANSWERED,
    cancelled,
    ending_of_verdict,
    moved,
)
from daemon.calls.live import LiveCall
from daemon.calls.steps import Steps
from daemon.calls.tell import tell_ending, tell_waiting
from daemon.lifecycle import Event, State
from daemon.store.approvals import ApprovalState
from daemon.store.commit import Tx
from ledger.chain import Entry

WhoMayApprove = Callable[[LiveCall], list[str]]

# A settled approval whose answer is not told within this time was settled by no daemon.
ANSWER_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Waiting:
    """See the module."""

    steps: Steps
    who_may_approve: WhoMayApprove

    async def wait(self, live: LiveCall) -> None:
        """Returns when there is an answer or an end; or when nobody looks at the call any more."""
        statement = live.shown
        tell_waiting(live, self.who_may_approve(live), self.steps.clock.now_ms())
        try:
            while not live.settled.is_set():
                if live.forgotten:
                    return
                left = (statement.expires_ms - self.steps.clock.now_ms()) / 1000
                with anyio.move_on_after(max(left, 0)):
                    await live.stirred()
                if not live.settled.is_set() and await self._expire(live):
                    return
        finally:
            # Also where a cancel comes in the moment of a no: nobody else tells of that end.
            if live.settled.is_set() and live.ended:
                tell_ending(live, ending_of_verdict(live), self.steps.clock.now_ms())

    async def _expire(self, live: LiveCall) -> bool:
        """Whether the end of its time was recorded before any answer."""
        now = self.steps.clock.now_ms()
        if live.statement is None or now < live.statement.expires_ms:
            return False  # something else stirred, or the event loop's clock was early

        def operation(tx: Tx) -> Entry | None:
            if not records.close_approval(tx, live, ApprovalState.EXPIRED, now):
                return None
            return records.move(tx, live, Event.EXPIRE, NOBODY_ANSWERED.reason, now, {})

        entry = await self.steps.write(operation)
        if entry is None:
            # An answer was first; whoever recorded it is about to say so.
            if not await self._hears_of_answer(live):
                await self._end_damaged(live)
                return True
            return False
        self.steps.end(live, NOBODY_ANSWERED, entry)
        return True

    @staticmethod
    async def _hears_of_answer(live: LiveCall) -> bool:
        """Whether the answer that the database says was given is told here, too."""
        with anyio.move_on_after(ANSWER_SECONDS):
            await live.settled.wait()
        return live.settled.is_set()

    async def _end_damaged(self, live: LiveCall) -> None:
        """Ends a call whose approval was settled by nobody here."""
        now, ending, origin = self.steps.clock.now_ms(), APPROVAL_DAMAGED, live.state
        entry = await self.steps.write(
            lambda tx: records.move(
                tx, live, ending.event, ending.reason, now, {}, from_state=origin
            )
        )
        if entry is None:
            raise moved(live)
        self.steps.end(live, ending, entry)

    async def withdraw(self, live: LiveCall) -> None:
        """Ends a call that was cancelled, waiting or not; unless a person's no was first."""
        reason = live.cancel_reason
        while not live.ended:
            # Where it is for all that was told here. An answer may be told at any moment from now.
            origin = live.state
            entry = await self.steps.write(partial(self._withdrawn, live, origin, reason))
            if entry is not None:
                self.steps.end(live, cancelled(reason), entry)
                return
            if origin is not State.PENDING_APPROVAL:
                raise moved(live)
            # An answer was first. A yes is withdrawn after all; a no stays a no.
            if not await self._hears_of_answer(live):
                await self._end_damaged(live)
                return
        tell_ending(live, ending_of_verdict(live), self.steps.clock.now_ms())

    def _withdrawn(self, live: LiveCall, origin: State, reason: str, tx: Tx) -> Entry | None:
        now, approval = self.steps.clock.now_ms(), ApprovalState.WITHDRAWN
        if origin is State.PENDING_APPROVAL and not records.close_approval(tx, live, approval, now):
            return None
        return records.move(tx, live, Event.CANCEL, reason, now, {}, from_state=origin)
