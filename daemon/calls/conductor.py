"""Leads one call from its record to its end.

Trusted with the order of things: recorded before acted on, prepared before run, ended exactly once
however it ends. Every write is shielded, so a cancelled call knows what was recorded of it. Nothing
leaves `conduct`: what went wrong is in `live.fault`.
"""

import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import anyio
import structlog

from daemon.calls import records
from daemon.calls.hearing import TIER_UNAVAILABLE, Ruling
from daemon.calls.live import LiveCall
from daemon.calls.run import Finished, Run
from daemon.calls.tell import tell_ending, tell_received, tell_started, tell_waiting
from daemon.clock import Clock
from daemon.config import Config
from daemon.errors import Conflict, Fault
from daemon.leases.book import LeaseLapsedError
from daemon.lifecycle import ENDS, Event, State, next_state
from daemon.outcome import Ending
from daemon.store.approvals import ApprovalState
from daemon.store.calls import Existing
from daemon.store.commit import Tx
from daemon.store.writer import Writer
from daemon.vault_keeper import VaultKeeper
from daemon.workspaces import Workspaces
from ledger.chain import Entry
from policy.risk import Tier
from sandbox.errors import SandboxError, TierUnavailableError
from sandbox.tier import Sandbox

_log = structlog.get_logger("stockade.calls")

T = TypeVar("T")

WhoMayApprove = Callable[[LiveCall], list[str]]

CANCELLED: Mapping[str, str] = {
    "CALLER_GONE": "the caller went away",
    "CANCELLED_BY_REQUEST": "it was cancelled by request",
    "LEASE_REVOKED": "the lease that permitted it was revoked",
    "DEVICE_REVOKED": "the caller's device was revoked",
    "AGENT_REVOKED": "the agent was revoked",
    "AGENT_REPLACED": "the agent was enrolled with another manifest: it is another agent now",
    "AGENT_ENROLLED_AGAIN": "the agent was enrolled again, with a new certificate",
    "SECRET_REVOKED": "a secret that it had was revoked",
    "DAEMON_STOPPED": "the daemon was stopped",
    "CLOCK_SET_BACK": "the clock was set back, and nobody can say how long it has waited",
    "DAEMON_RESTARTED": "the daemon was restarted, and nobody was attached to the call",
}


# A settled approval whose answer is not told within this time was settled by no daemon.
ANSWER_SECONDS = 30
DAMAGED = "the database says that its approval was settled, and no answer did that"
FIND_OUT = "find out who wrote to the database; `stockade ledger verify`"

LEASE_REVOKED = Ending(
    Event.FAIL,
    "LEASE_REVOKED",
    "the lease that permitted it was revoked while the call waited for its turn to run",
    fix="call again",
)
POLICY_CHANGED = Ending(
    Event.FAIL,
    "POLICY_CHANGED",
    "policy changed while the call waited for its turn to run",
    fix="call again",
)


class Conductor:
    """See the module."""

    def __init__(
        self,
        *,
        config: Config,
        writer: Writer,
        vault: VaultKeeper,
        workspaces: Workspaces,
        egress: Path,
        sandboxes: Mapping[Tier, Sandbox],
        clock: Clock,
        who_may_approve: WhoMayApprove,
        changed: Callable[[str], None],
        policy_digest: Callable[[], str],
        without_lease: Callable[[LiveCall], None],
        lease_holds: Callable[[str], bool],
        lease_taken: Callable[[str], None],
    ) -> None:
        self._config = config
        self._writer = writer
        self._vault = vault
        self._workspaces = workspaces
        self._egress = egress
        self._sandboxes = sandboxes
        self._clock = clock
        self._who_may_approve = who_may_approve
        self._changed = changed
        self._policy_digest = policy_digest
        self._without_lease = without_lease
        self._lease_holds = lease_holds
        self._lease_taken = lease_taken
        self._slots = anyio.CapacityLimiter(config.calls.max_running)

    async def conduct(self, live: LiveCall, admission: records.Admission | None) -> None:
        """The whole life of a call; without an admission, from where it waits for approval."""
        try:
            if admission is not None:
                await self._begin(live, admission)
            else:
                with live.scope:
                    await self._live(live, None)
            if not live.ended and live.cancel_reason:
                await self._cancelled(live)
        except Fault as fault:
            # The store failed: what could not be recorded is not told as if it were.
            live.fault = fault
            _log.error("call.not_recorded", call=live.call_id, state=live.state, reason=fault.code)
        except Exception:  # noqa: BLE001 - a defect ends this call, not the daemon; it is logged
            live.fault = Fault("a defect in the daemon; its log has the details")
            _log.exception("call.defect", call=live.call_id)
        finally:
            live.admitted.set()
            live.feed.close()
            live.done.set()

    async def _begin(self, live: LiveCall, admission: records.Admission) -> None:
        async with self._at_once(live) as run:
            try:
                new: bool | None = await self._admit(live, admission, run)
            except LeaseLapsedError:
                new = None
            if new:
                with live.scope:
                    await self._live(live, run)
        if new is None:
            # The use it was permitted by was somebody else's by then: as if there were no lease.
            self._without_lease(live)
            await self._begin(live, replace(admission, take=None))

    @asynccontextmanager
    async def _at_once(self, live: LiveCall) -> AsyncIterator[Run | None]:
        """A run that can start with its permit, with a place among the running; or None."""
        if live.verdict.ruling is not Ruling.PERMIT or not self._has_place(live):
            yield None
            return
        run: Run | None = None
        try:
            run = await self._prepared(live)
            yield run
        finally:
            if run is not None:
                run.discard()
            self._slots.release_on_behalf_of(live.call_id)

    def _has_place(self, live: LiveCall) -> bool:
        """Takes a place among the running, if one is free; the caller gives it back."""
        try:
            self._slots.acquire_on_behalf_of_nowait(live.call_id)
        except anyio.WouldBlock:
            return False
        return True

    async def _prepared(self, live: LiveCall) -> Run | None:
        run = self._new_run(live)
        try:
            await run.prepare()
        except Exception as error:  # noqa: BLE001 - `_refusal` raises what is not a refusal
            _refusal(error, live)
            return None  # the permit is recorded first; `_run` then meets the same refusal
        return run

    async def _live(self, live: LiveCall, run: Run | None) -> None:
        if run is not None:
            await self._execute(live, run)
            return
        if live.state is State.PENDING_APPROVAL:
            await self._wait_for_approval(live)
        if live.state is State.PERMITTED:
            async with self._place(live):
                if not self._lease_holds(live.verdict.lease):
                    await self._finish(live, LEASE_REVOKED, {"message": LEASE_REVOKED.message})
                elif live.verdict.policy_digest == self._policy_digest():
                    await self._run(live)
                else:  # it waited for its place, and what permitted it is no longer in force
                    await self._finish(live, POLICY_CHANGED, {"message": POLICY_CHANGED.message})

    @asynccontextmanager
    async def _place(self, live: LiveCall) -> AsyncIterator[None]:
        """A place among the running: the one it has, or one that is waited for."""
        if live.call_id in self._slots.statistics().borrowers:
            yield
            return
        async with self._slots:
            yield

    async def _admit(self, live: LiveCall, admission: records.Admission, run: Run | None) -> bool:
        """Records the call, its ruling and perhaps its start; whether it is a new one."""
        if run is not None:
            admission = replace(admission, started=_start_body(live, run))
        admitted = await self._write(lambda tx: records.admit(tx, admission))
        if isinstance(admitted, Existing):
            live.existing = admitted.row
            return False
        records.was_kept(live.verdict)
        if live.verdict.lease:
            self._lease_taken(live.verdict.lease)
        live.last_entry = admitted
        live.state = next_state(State.RECEIVED, records.EVENT_OF[live.verdict.ruling])
        if run is not None:
            live.state = next_state(live.state, Event.START)
        live.admitted.set()
        if live.statement is not None:
            self._changed(live.statement.approval_id)
        tell_received(live, admission.now_ms)
        if live.state in ENDS:
            tell_ending(live, ending_of_verdict(live), self._clock.now_ms())
        return True

    async def _wait_for_approval(self, live: LiveCall) -> None:
        """Returns when there is an answer or an end; or when nobody looks at the call any more."""
        statement = live.statement
        assert statement is not None  # noqa: S101 - it is pending
        tell_waiting(live, self._who_may_approve(live), self._clock.now_ms())
        while not live.settled.is_set():
            if live.forgotten:
                return
            left = (statement.expires_ms - self._clock.now_ms()) / 1000
            with anyio.move_on_after(max(left, 0)):
                await live.stirred()
            if not live.settled.is_set() and await self._expire(live):
                return
        if live.ended:
            tell_ending(live, ending_of_verdict(live), self._clock.now_ms())

    async def _expire(self, live: LiveCall) -> bool:
        """Whether the end of its time was recorded before any answer."""
        now = self._clock.now_ms()
        if live.statement is None or now < live.statement.expires_ms:
            return False  # something else stirred, or the event loop's clock was early

        def operation(tx: Tx) -> Entry | None:
            if not records.close_approval(tx, live, ApprovalState.EXPIRED, now):
                return None
            return records.move(tx, live, Event.EXPIRE, "NOBODY_ANSWERED", now, {})

        entry = await self._write(operation)
        if entry is None:
            # An answer was first; whoever recorded it is about to say so.
            if not await self._hears_of_answer(live):
                await self._end_damaged(live)
                return True
            return False
        self._end(live, Ending(Event.EXPIRE, "NOBODY_ANSWERED", "nobody answered in time"), entry)
        return True

    @staticmethod
    async def _hears_of_answer(live: LiveCall) -> bool:
        """Whether the answer that the database says was given is told here, too."""
        with anyio.move_on_after(ANSWER_SECONDS):
            await live.settled.wait()
        return live.settled.is_set()

    async def _end_damaged(self, live: LiveCall) -> None:
        """Ends a call whose approval was settled by nobody here."""
        now = self._clock.now_ms()
        ending = Ending(Event.DENY, "APPROVAL_DAMAGED", DAMAGED, fix=FIND_OUT)
        entry = await self._write(
            lambda tx: records.move(tx, live, Event.DENY, ending.reason, now, {})
        )
        if entry is None:
            raise _moved(live)
        self._end(live, ending, entry)

    def _new_run(self, live: LiveCall) -> Run:
        tier = live.verdict.tier
        assert tier is not None  # noqa: S101 - it was permitted in one
        return Run(
            live,
            self._sandboxes[tier],
            self._vault,
            self._workspaces,
            self._egress,
            self._clock.now_ms,
        )

    async def _run(self, live: LiveCall) -> None:
        run = self._new_run(live)
        try:
            await run.prepare()
        except Exception as error:  # noqa: BLE001 - `_refusal` raises what is not a refusal
            await self._fail(live, error)
            return
        await self._start(live, _start_body(live, run))
        await self._execute(live, run)

    async def _execute(self, live: LiveCall, run: Run) -> None:
        tell_started(live, _tier(live), self._clock.now_ms())
        try:
            finished = await run.execute()
        except SandboxError as error:
            await self._fail(live, error)
            return
        await self._finish(live, finished.ending, finished.body, finished)

    async def _start(self, live: LiveCall, body: Mapping[str, object]) -> None:
        now = self._clock.now_ms()
        entry = await self._write(
            lambda tx: records.move(tx, live, Event.START, "STARTED", now, body)
        )
        if entry is None:
            raise _moved(live)
        live.state, live.last_entry = State.RUNNING, entry

    async def _fail(self, live: LiveCall, error: Exception) -> None:
        ending = _refusal(error, live)
        await self._finish(live, ending, {"message": ending.message})

    async def _finish(
        self,
        live: LiveCall,
        ending: Ending,
        body: Mapping[str, object],
        finished: Finished | None = None,
    ) -> None:
        now, outcome = self._clock.now_ms(), json.dumps(body).encode()
        entry = await self._write(
            lambda tx: records.move(
                tx, live, ending.event, ending.reason, now, body, outcome=outcome
            )
        )
        if entry is None:
            raise _moved(live)
        self._end(live, ending, entry, finished)

    async def _cancelled(self, live: LiveCall) -> None:
        reason = live.cancel_reason

        def operation(tx: Tx) -> Entry | None:
            now = self._clock.now_ms()
            if live.state is State.PENDING_APPROVAL and not records.close_approval(
                tx, live, ApprovalState.WITHDRAWN, now
            ):
                return None
            return records.move(tx, live, Event.CANCEL, reason, now, {})

        entry = await self._write(operation)
        if entry is None and live.state is State.PENDING_APPROVAL:
            # An answer was first. A yes is withdrawn after all; a no stays a no.
            if not await self._hears_of_answer(live):
                await self._end_damaged(live)
                return
            if live.ended:
                tell_ending(live, ending_of_verdict(live), self._clock.now_ms())
                return
            entry = await self._write(operation)
        if entry is None:
            raise _moved(live)
        self._end(live, Ending(Event.CANCEL, reason, CANCELLED.get(reason, "cancelled")), entry)

    def _end(
        self, live: LiveCall, ending: Ending, entry: Entry, finished: Finished | None = None
    ) -> None:
        live.state = next_state(live.state, ending.event)
        live.last_entry = entry
        tell_ending(live, ending, self._clock.now_ms(), finished)
        if live.statement is not None:
            self._changed(live.statement.approval_id)

    async def _write(self, operation: Callable[[Tx], T]) -> T:
        with anyio.CancelScope(shield=True):
            written = await self._writer.write(operation)
        return written  # noqa: RET504 - the checker takes a scope for one that may swallow


def ending_of_verdict(live: LiveCall) -> Ending:
    """The ending of a call that policy or a human refused."""
    verdict = live.verdict
    event = Event.REJECT if live.state is State.REJECTED else Event.DENY
    return Ending(event, verdict.code, verdict.message, fix=verdict.fix)


def _tier(live: LiveCall) -> str:
    return live.verdict.tier.label if live.verdict.tier else ""


def _start_body(live: LiveCall, run: Run) -> dict[str, object]:
    return {"tier": _tier(live), "secrets": run.secret_versions}


def _moved(live: LiveCall) -> Conflict:
    return Conflict(
        f"call {live.call_id} was moved by somebody else",
        code="CALL_MOVED",
        fix="`stockade calls list` shows where it is",
    )


def _refusal(error: Exception, live: LiveCall) -> Ending:
    """The ending for what refused to start; anything that is not a refusal is a defect."""
    code = getattr(error, "code", None)
    if code is None:
        raise error
    message = getattr(error, "message", str(error))
    if isinstance(error, TierUnavailableError):
        # It worked when it was probed. Whoever called is told the same as if it never had.
        message = f"the call needs the {_tier(live)} tier: {code}: {message}"
        code = TIER_UNAVAILABLE
    return Ending(Event.FAIL, str(code), message, fix=getattr(error, "fix", ""))
