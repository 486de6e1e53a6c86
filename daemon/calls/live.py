"""A call under way: what it is, where it is, and how to tell those who watch."""

import asyncio
from dataclasses import dataclass, field
from typing import NamedTuple

import anyio
from google.protobuf.timestamp_pb2 import Timestamp

from daemon.calls.feed import Feed
from daemon.calls.judge import Candidate, Verdict
from daemon.contents.kept import Kept
from daemon.errors import Fault
from daemon.lifecycle import ENDS, State
from daemon.principal import Principal
from daemon.store.calls import CallRow
from ledger.chain import Entry
from stockade.statement import Statement
from stockade.v1 import call_pb2


@dataclass(frozen=True, slots=True)
class Request:
    """A call as it was asked for. The arguments are as sent; nothing about them is known."""

    call_id: str
    tool: str
    arguments: bytes = field(repr=False)
    detach: bool
    principal: Principal


class Caller(NamedTuple):
    """Whose call it is, as far as it decides when the call has to end."""

    device_id: str
    serial: str
    # Empty for a device.
    agent_id: str

    @classmethod
    def of(cls, principal: Principal) -> "Caller":
        """The caller that this principal is."""
        agent_id = principal.agent.agent_id if principal.agent else ""
        return cls(principal.device_id, principal.serial, agent_id)


@dataclass(slots=True)
class LiveCall:
    """One call that has not ended, or has just."""

    call_id: str
    tool: str
    principal: Principal
    # Canonical, or empty where they were refused: with principal and tool, what makes two requests
    # of one id the same.
    arguments: bytes = field(repr=False)
    detach: bool
    state: State
    verdict: Verdict
    feed: Feed = field(repr=False)
    candidate: Candidate | None = field(default=None, repr=False)
    statement: Statement | None = field(default=None, repr=False)
    kept: Kept | None = None
    last_entry: Entry | None = field(default=None, repr=False)
    # Why the call is being cancelled, once it is; the first reason stays.
    cancel_reason: str = ""
    fault: Fault | None = None
    # The stored call that had this id before.
    existing: CallRow | None = None
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope, repr=False)
    admitted: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    settled: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    done: asyncio.Event = field(default_factory=asyncio.Event, repr=False)
    # RPCs that have to do with it now.
    holders: int = 0
    _stirred: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    @property
    def judged(self) -> Candidate:
        """What policy was asked about; LookupError for a call that was refused before that."""
        if self.candidate is None:
            raise LookupError("this call was refused before policy was asked")
        return self.candidate

    @property
    def shown(self) -> Statement:
        """What people are asked about it; LookupError for a call that nobody is asked about."""
        if self.statement is None:
            raise LookupError("nobody is asked about this call")
        return self.statement

    @property
    def contents(self) -> Kept:
        """What is kept of it; LookupError before that was decided: nothing may be recorded then."""
        if self.kept is None:
            raise LookupError("it was not decided what is kept of this call")
        return self.kept

    @property
    def ended(self) -> bool:
        """Whether it has an end."""
        return self.state in ENDS

    @property
    def bytes_held(self) -> int:
        """About how much memory it holds on to."""
        return self.feed.bytes_held + len(self.arguments)

    @property
    def forgotten(self) -> bool:
        """Whether nobody would notice if it waited in the database alone."""
        return self.detach and not self.holders and not self.cancel_reason

    def hold(self) -> None:
        """Somebody has to do with it."""
        self.holders += 1

    def release(self) -> None:
        """And has no longer."""
        self.holders -= 1
        self.stir()

    def stir(self) -> None:
        """Something has changed that a waiting call should look at."""
        self._stirred.set()

    async def stirred(self) -> None:
        """Returns at the next change."""
        await self._stirred.wait()
        self._stirred = asyncio.Event()

    def settle(self, state: State, verdict: Verdict, entry: Entry) -> None:
        """What a person's answer, which is recorded, has made of it."""
        self.state, self.verdict, self.last_entry = state, verdict, entry
        self.settled.set()
        self.stir()

    def cancel(self, reason: str) -> None:
        """Asks for its end; `done` tells when it has come."""
        if not self.cancel_reason:
            self.cancel_reason = reason
        self.scope.cancel()

    def event(self, now_ms: int) -> call_pb2.CallEvent:
        """An event of this call, to be filled in."""
        return call_pb2.CallEvent(call_id=self.call_id, time=timestamp(now_ms))


def timestamp(milliseconds: int) -> Timestamp:
    """Milliseconds since 1970 as a protobuf timestamp."""
    return Timestamp(seconds=milliseconds // 1000, nanos=milliseconds % 1000 * 1_000_000)
