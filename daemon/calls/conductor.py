"""Leads one call from its record to its end.

Trusted with the order of things: recorded before acted on, prepared before run, ended exactly once
however it ends. Every write is shielded, so a cancelled call knows what was recorded of it. Nothing
leaves `conduct`: what went wrong is in `live.fault`.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import structlog

from daemon.calls import records
from daemon.calls.endings import ending_of_verdict, refusal_ending, tier_label
from daemon.calls.hearing import Ruling
from daemon.calls.live import LiveCall
from daemon.calls.places import Places
from daemon.calls.rests import Rests
from daemon.calls.run import Run
from daemon.calls.steps import Steps
from daemon.calls.tell import tell_ending, tell_received, tell_started
from daemon.calls.upheld import LapsedError, OvertakenError, Upheld
from daemon.calls.waiting import Waiting, WhoMayApprove
from daemon.clock import Clock
from daemon.config import Config
from daemon.contents.keeping import Asked, Keeping
from daemon.errors import Fault
from daemon.leases.book import LeaseLapsedError
from daemon.lifecycle import ENDS, Event, State, next_state
from daemon.store.calls import Existing
from daemon.store.commit import Tx
from daemon.store.writer import Writer
from daemon.tools.compared import Compared
from daemon.vault.keeper import VaultKeeper
from daemon.workspaces import Workspaces
from daemon.world import World
from ledger.chain import Entry
from policy.risk import Tier
from sandbox.errors import SandboxError
from sandbox.tier import Sandbox

_log = structlog.get_logger("stockade.calls")

# A new call once more, with the leases that stand or with none.
JudgeAgain = Callable[[LiveCall, bool], Awaitable[records.Admission]]


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
        upheld: Upheld,
        judge_again: JudgeAgain,
        lease_taken: Callable[[str], None],
        keeping: Keeping,
    ) -> None:
        self._keeping = keeping
        self._vault = vault
        self._workspaces = workspaces
        self._egress = egress
        self._sandboxes = sandboxes
        self._clock = clock
        self._steps = Steps(writer, clock, changed)
        self._waiting = Waiting(self._steps, who_may_approve)
        self._upheld = upheld
        self._judge_again = judge_again
        self._lease_taken = lease_taken
        self._rests = Rests(config.calls.rest_seconds)
        self._places = Places(config.calls.max_running)
        self._compared = Compared()

    @property
    def refuses_at_once(self) -> bool:
        """Whether what is kept of a call is known before anything is done about it."""
        return self._keeping.at_once is not None

    def refuse(
        self, live: LiveCall, admission: records.Admission, over: Callable[[], None]
    ) -> None:
        """A call that policy denies, recorded, then told: a life too short for a task of its own.

        Whatever becomes of the caller meanwhile. `over` is called at its end. Only where it
        `refuses_at_once`.
        """
        live.kept = self._keeping.at_once

        def told(recorded: asyncio.Future[Entry | Existing]) -> None:
            with self._to_its_end(live):
                self._admitted(live, admission, recorded.result())
            over()

        self._steps.begin(lambda tx: records.admit(tx, admission)).add_done_callback(told)

    async def conduct(self, live: LiveCall, admission: records.Admission | None) -> None:
        """The whole life of a call; without an admission, from where it waits for approval."""
        with self._to_its_end(live):
            if admission is not None:
                await self._begin(live, admission)
            else:
                with live.scope:
                    await self._live(live, None)
            if not live.ended and live.cancel_reason:
                await self._waiting.withdraw(live)

    @contextmanager
    def _to_its_end(self, live: LiveCall) -> Iterator[None]:
        """Whatever happens in it, who waits for the call or its end waits no longer."""
        try:
            yield
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
        by_leases = True
        while True:
            try:
                async with self._at_once(live) as run:
                    if await self._admit(live, admission, run):
                        with live.scope:
                            await self._live(live, run)
                return
            except LeaseLapsedError:
                # The use it was permitted by was somebody else's: as if there were no lease.
                by_leases = False
            except OvertakenError:
                pass
            admission = await self._judge_again(live, by_leases)

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
                await run.let_go()
            self._places.leave(live.call_id)

    def _has_place(self, live: LiveCall) -> bool:
        """Takes a place among the running, if one is free; the caller gives it back."""
        return self._rests.may_begin(_caller_and_tool(live)) and self._places.take_now(
            live.call_id, live.principal.device_id
        )

    async def _prepared(self, live: LiveCall) -> Run | None:
        run = self._new_run(live)
        try:
            await run.prepare()
        except Exception as error:  # noqa: BLE001 - `refusal_ending` raises what is not a refusal
            refusal_ending(error, live)
            return None  # the permit is recorded first; `_run` then meets the same refusal
        return run

    async def _live(self, live: LiveCall, run: Run | None) -> None:
        if run is not None:
            await self._execute(live, run)
            return
        if live.state is State.PENDING_APPROVAL:
            await self._waiting.wait(live)
        if live.state is State.PERMITTED:
            async with self._place(live):
                await self._run(live)

    @asynccontextmanager
    async def _place(self, live: LiveCall) -> AsyncIterator[None]:
        """A place among the running: the one it has, or one that is waited for."""
        if self._places.holds(live.call_id):
            yield
            return
        try:
            await self._take_place(live)
            yield
        finally:
            self._places.leave(live.call_id)

    async def _take_place(self, live: LiveCall) -> None:
        """A place in its turn; if its like was killed while it waited, after another rest."""
        who = _caller_and_tool(live)
        while True:
            turn = await self._rests.turn(who)
            await self._places.take(live.call_id, live.principal.device_id)
            if self._rests.holds(who, turn):
                return
            self._places.leave(live.call_id)

    async def _admit(self, live: LiveCall, admission: records.Admission, run: Run | None) -> bool:
        """Records the call, its ruling and perhaps its start; whether it is a new one."""
        if run is not None:
            admission = replace(admission, started=_start_body(live, run))
        live.kept = await self._keeping.of(_asked(live))

        def operation(tx: Tx) -> Entry | Existing:
            if live.verdict.ruling is not Ruling.DENY:
                self._upheld.require_current(live.verdict)
            return records.admit(tx, admission)

        meanwhile = None if run is None else run.set_aside
        return self._admitted(live, admission, await self._steps.write(operation, meanwhile))

    def _admitted(
        self, live: LiveCall, admission: records.Admission, admitted: Entry | Existing
    ) -> bool:
        """What was recorded is told; whether the call is a new one."""
        if isinstance(admitted, Existing):
            live.existing = admitted.row
            return False
        records.was_kept(live.verdict)
        if live.verdict.lease:
            self._lease_taken(live.verdict.lease)
        live.last_entry = admitted
        live.state = next_state(State.RECEIVED, records.EVENT_OF[live.verdict.ruling])
        if admission.started is not None:
            live.state = next_state(live.state, Event.START)
        live.admitted.set()
        if live.statement is not None:
            self._steps.changed(live.statement.approval_id)
        tell_received(live, admission.now_ms)
        if live.state in ENDS:
            tell_ending(live, ending_of_verdict(live), self._clock.now_ms())
        return True

    def _new_run(self, live: LiveCall) -> Run:
        return Run(
            live,
            self._sandboxes[live.verdict.in_tier],
            self._vault,
            self._workspaces,
            self._egress,
            self._clock.now_ms,
            self._keeping,
            self._compared,
        )

    async def _run(self, live: LiveCall) -> None:
        """What has waited for its place or for people, if it may still begin."""
        run = self._new_run(live)
        try:
            world = await self._upheld.require(live)
            try:
                await run.prepare()
            except Exception as error:  # noqa: BLE001 - `refusal_ending` raises what is no refusal
                await self._fail(live, error)
                return
            while not await self._start(live, run, world):
                world = await self._upheld.require(live)
            await self._execute(live, run)
        except LapsedError as lapsed:
            await self._steps.finish(live, lapsed.ending)
        finally:
            run.discard()
            await run.let_go()

    async def _start(self, live: LiveCall, run: Run, world: World) -> bool:
        """Records the start; False if something changed since `require`."""
        unchanged = partial(self._upheld.require_unchanged, live, world)
        try:
            await self._steps.start(live, _start_body(live, run), unchanged, run.set_aside)
        except OvertakenError:
            return False
        return True

    async def _execute(self, live: LiveCall, run: Run) -> None:
        tell_started(live, tier_label(live), self._clock.now_ms())
        try:
            finished = await run.execute()
        except SandboxError as error:
            await self._fail(live, error)
            return
        if finished.ending.event is Event.KILL:
            self._rests.killed(_caller_and_tool(live))
        elif finished.ending.event is not Event.CANCEL:
            self._rests.ended_well(_caller_and_tool(live))
        await self._steps.finish(live, finished.ending, finished.body, finished)

    async def _fail(self, live: LiveCall, error: Exception) -> None:
        await self._steps.finish(live, refusal_ending(error, live))


def _asked(live: LiveCall) -> Asked:
    found = live.candidate
    schema, references = (
        (None, ()) if found is None else (found.tool.manifest.input.schema, found.secrets)
    )
    return Asked(live.arguments, schema, references, live.verdict.message)


def _caller_and_tool(live: LiveCall) -> tuple[str, str]:
    """What rests: an agent counts as its device, as it does for a place."""
    return live.principal.device_id, live.tool


def _start_body(live: LiveCall, run: Run) -> dict[str, object]:
    return {"tier": tier_label(live), "secrets": run.secret_versions}
