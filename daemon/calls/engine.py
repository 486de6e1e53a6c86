"""All calls of this daemon: taken in, found again, ended.

Each runs in a task of its own, owned by the daemon's task group; `stop` ends them all. One that
waits for a person while nobody looks at it is set aside and costs next to nothing: whoever has to
do with a call holds it, and gives it back. What leaves `submit` are the caller's faults
(`AlreadyExists`, `Exhausted`) and the store's (`Unavailable`).
"""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from functools import partial
from time import perf_counter

import anyio
from anyio.abc import TaskGroup

from daemon.calls import records
from daemon.calls.aside import Aside
from daemon.calls.conductor import Conductor
from daemon.calls.feed import Feed
from daemon.calls.hearing import TIER_UNAVAILABLE, Ruling
from daemon.calls.judge import Candidate, Verdict, judge
from daemon.calls.live import Caller, LiveCall, Request
from daemon.calls.preparation import Prepared, prepare, statement_for
from daemon.calls.remembered import Remembered
from daemon.calls.room import Room
from daemon.calls.tell import tell_received
from daemon.calls.timing import Timing, Timings
from daemon.clock import Clock
from daemon.config import Config
from daemon.errors import SOON_SECONDS, AlreadyExists, Exhausted, Fault, Unavailable
from daemon.leases.book import LeaseBook
from daemon.lifecycle import State
from daemon.permitted import not_of_a_request
from daemon.store.calls import CallRow
from daemon.vault.keeper import VaultKeeper
from daemon.world import World
from daemon.worlds import Worlds

_Judged = tuple[Prepared, Verdict, int]


class Calls:
    """See the module."""

    def __init__(
        self,
        *,
        config: Config,
        worlds: Worlds,
        vault: VaultKeeper,
        conductor: Conductor,
        aside: Aside,
        room: Room,
        clock: Clock,
        group: TaskGroup,
        leases: LeaseBook,
        until_examined: Callable[[], Awaitable[None]],
        timing: Timing | None = None,
    ) -> None:
        self._timing = timing or Timings()
        self._config = config
        self._worlds = worlds
        self._vault = vault
        self._conductor = conductor
        self._aside = aside
        self._leases = leases
        self._clock = clock
        self._group = group
        self._until_examined = until_examined
        self._live: dict[str, LiveCall] = {}
        self._remembered = Remembered()
        self._room = room
        self._bytes = Room(config.calls.max_open_mib * 1024 * 1024)
        self._stopping = False

    def find(self, call_id: str) -> LiveCall | None:
        """A call under way, or ended lately."""
        return self._live.get(call_id) or self._remembered.get(call_id)

    @property
    def open(self) -> int:
        """How many have not ended."""
        return len(self._live) + len(self._aside)

    @property
    def running(self) -> int:
        """How many tools run now."""
        return sum(live.state is State.RUNNING for live in self._live.values())

    @property
    def pending(self) -> int:
        """How many wait for a human."""
        live = sum(live.state is State.PENDING_APPROVAL for live in self._live.values())
        return live + len(self._aside)

    async def submit(self, request: Request) -> tuple[LiveCall | CallRow, bool]:
        """Records and judges a call; whether it is new. A known id gives the call that has it.

        A live call is held for whoever asked, who has to `release` it.
        """
        if (known := self.find(request.call_id)) is not None:
            known.hold()
        else:
            known = await self._waiting_aside(request.call_id)
        if known is None:
            known, new = await self._new(request)
            if new:
                return known, True
        try:
            # Whose id it is says the record, not who was first to ask for one.
            await known.admitted.wait()
            self._require_same(request, known.existing or known)
        except BaseException:
            known.release()
            raise
        if known.existing is None:
            return known, False
        known.release()
        return await self.attach(request.call_id) or known.existing, False

    async def attach(self, call_id: str) -> LiveCall | None:
        """A call under way, waiting, or ended lately; held for whoever asked."""
        live = self._live.get(call_id)
        if live is not None:
            await live.admitted.wait()
            if live.existing is not None:
                live = None  # it asked for an id that another call has
        if live is None and call_id in self._aside:
            revived = await self._aside.revive(call_id)
            live = self._live.get(call_id)  # somebody else may have been faster
            if live is None and revived is not None and self._aside.take(call_id):
                live = revived
                self._take_up(live)
        live = live or self._remembered.get(call_id)
        if live is not None:
            live.hold()
        return live

    async def _waiting_aside(self, call_id: str) -> LiveCall | None:
        """A call that was set aside, taken up again; held."""
        return await self.attach(call_id) if call_id in self._aside else None

    async def cancel(self, live: LiveCall, reason: str) -> State:
        """Ends a call; the state it ended in, which may be another end that came first."""
        live.cancel(reason)
        await live.done.wait()
        return live.state

    def cancel_all(self, which: Callable[[Caller], bool], reason: str) -> None:
        """Ends all calls of these callers."""
        for live in list(self._live.values()):
            if which(Caller.of(live.principal)):
                live.cancel(reason)
        self._aside.end_all(which, reason)

    def cancel_these(self, call_ids: Iterable[str], reason: str) -> None:
        """Ends those of these calls that have not ended."""
        for call_id in call_ids:
            live = self._live.get(call_id)
            if live is not None:
                live.cancel(reason)

    async def stop(self, patience: anyio.CancelScope) -> None:
        """Takes no more calls, lets those under way finish in that scope, then ends them."""
        self._stopping = True
        for live in list(self._live.values()):
            if live.state is State.PENDING_APPROVAL and live.detach:
                # It goes on waiting in the database.
                live.scope.cancel()
        with patience:
            for live in list(self._live.values()):
                await live.done.wait()
        remaining = list(self._live.values())
        for live in remaining:
            live.cancel("DAEMON_STOPPED")
        for live in remaining:
            await live.done.wait()

    def _require_room(self, request: Request) -> None:
        """Raises `Exhausted` or `Unavailable` rather than take in what there is no room for."""
        limits = self._config.calls
        if self._stopping:
            raise Unavailable("the daemon is stopping", code="STOPPING", fix="try again shortly")
        device = request.principal.device_id
        if not self._room.has(device, 1):
            raise _no_room(f"{self.open} calls are open", "max_open")
        if not self._bytes.has(device, len(request.arguments)):
            raise _no_room(
                f"open calls have arguments of {limits.max_open_mib} MiB at most", "max_open_mib"
            )

    async def _new(self, request: Request) -> tuple[LiveCall, bool]:
        """Takes a call in; or the one that has its id, which may be anybody's, and False. Held."""
        self._require_room(request)
        began = perf_counter()
        judged = await self._judged(request)
        self._timing.decided(request.call_id, perf_counter() - began)
        if isinstance(judged, LiveCall):
            return judged, False
        prepared, verdict, now = judged
        live = self._open(request, prepared, verdict, now)
        live.hold()
        self._keep(live)
        admission = self._admission(live, prepared, now)
        if verdict.ruling is Ruling.DENY and self._conductor.refuses_at_once:
            self._conductor.refuse(live, admission, partial(self._over, live))
        else:
            self._group.start_soon(self._conduct, live, admission)
        try:
            await live.admitted.wait()
            if live.fault is not None:
                raise live.fault
            self._timing.admitted(request.call_id, perf_counter() - began)
        except BaseException:
            if not request.detach:
                live.cancel("CALLER_GONE")
            live.release()
            raise
        return live, live.existing is None

    def _ruling(self, world: World, candidate: Candidate, by_leases: bool) -> Verdict:
        leases = self._leases.standing(world, candidate) if by_leases else ()
        return judge(world, candidate, self._clock.now(), leases=leases)

    def _admission(self, live: LiveCall, prepared: Prepared, now: int) -> records.Admission:
        take = None
        if lease := live.verdict.lease:
            take = partial(self._leases.take, lease_id=lease, call_id=live.call_id)
        return records.Admission(live, prepared.tool_digest, now, take=take)

    async def judge_again(self, live: LiveCall, by_leases: bool) -> records.Admission:
        """Judges a call again that has not been admitted, by what is in force now."""
        request = Request(live.call_id, live.tool, live.arguments, live.detach, live.principal)
        while True:
            judged = await self._judged_by(await self._worlds.settled(), request, by_leases)
            if judged is not None:
                break
        prepared, live.verdict, now = judged
        live.candidate, live.statement = prepared.candidate, None
        self._ask_if_needed(live, now)
        return self._admission(live, prepared, now)

    def cancel_leased(self, lease_id: str) -> None:
        """Ends the calls under way that this lease permitted."""
        for live in list(self._live.values()):
            if live.verdict.lease == lease_id:
                live.cancel("LEASE_REVOKED")

    def _take_up(self, live: LiveCall) -> None:
        """Goes on with a call that was set aside."""
        self._keep(live)
        live.admitted.set()
        tell_received(live, self._clock.now_ms())
        self._group.start_soon(self._conduct, live, None)

    def _require_same(self, request: Request, found: LiveCall | CallRow) -> None:
        prepared = prepare(self._worlds.current, request)
        mine = (str(request.principal), prepared.tool_name, prepared.canonical)
        gone = isinstance(found, CallRow) and found.redacted is not None and not found.arguments
        if gone or mine != (str(found.principal), found.tool, found.arguments):
            raise AlreadyExists(
                "this call id was used for another call",
                code="CALL_ID_REUSED",
                fix="make a new UUIDv7 for every new call",
            )

    async def _judged(self, request: Request) -> _Judged | LiveCall:
        """A call judged by what is in force; or the one that came with its id meanwhile, held."""
        looked = False
        while True:
            judged = await self._judged_by(self._worlds.current, request)
            if (joined := self.find(request.call_id)) is not None:
                joined.hold()
                return joined
            if not looked and request.call_id in self._aside:
                looked = True  # once: what cannot be taken up again, the database knows of
                if (joined := await self._waiting_aside(request.call_id)) is not None:
                    return joined
            elif judged is not None:
                return judged

    async def _judged_by(
        self, world: World, request: Request, by_leases: bool = True
    ) -> _Judged | None:
        """A call judged; None where policy, tools or tiers changed meanwhile."""
        now, prepared = self._clock.now_ms(), prepare(world, request)
        verdict = prepared.refusal or self._ruling(world, prepared.require(), by_leases)
        if verdict.code == TIER_UNAVAILABLE:
            await self._until_examined()  # just after a start it may only not be known yet
        elif verdict.ruling is not Ruling.DENY and prepared.require().secrets:
            verdict = await self._with_secrets(prepared, verdict)
        return (prepared, verdict, now) if self._worlds.current is world else None

    async def _conduct(self, live: LiveCall, admission: records.Admission | None) -> None:
        not_of_a_request()  # though it may have been taken up in an approver's
        try:
            await self._conductor.conduct(live, admission)
        finally:
            self._over(live)

    def _over(self, live: LiveCall) -> None:
        """Nothing is done about it any more."""
        del self._live[live.call_id]
        device = live.principal.device_id
        self._room.give_back(device, 1)
        self._bytes.give_back(device, len(live.arguments))
        if live.ended:
            self._remembered.put(live)
        elif live.state is State.PENDING_APPROVAL:
            self._aside.add(live.call_id, Caller.of(live.principal), live.cancel_reason)

    def _keep(self, live: LiveCall) -> None:
        self._live[live.call_id] = live
        self._room.take(live.principal.device_id, 1)
        self._bytes.take(live.principal.device_id, len(live.arguments))

    def _open(self, request: Request, prepared: Prepared, verdict: Verdict, now: int) -> LiveCall:
        live = LiveCall(
            call_id=request.call_id,
            tool=prepared.tool_name,
            principal=request.principal,
            arguments=prepared.canonical,
            detach=request.detach,
            state=State.RECEIVED,
            verdict=verdict,
            feed=Feed(self._config.calls.retain_output_kib * 1024),
            candidate=prepared.candidate,
        )
        self._ask_if_needed(live, now)
        return live

    def _ask_if_needed(self, live: LiveCall, now: int) -> None:
        if live.verdict.ruling is Ruling.ASK:
            lifetime = self._config.approvals.lifetime_seconds * 1000
            live.statement = statement_for(live, now, lifetime)

    async def _with_secrets(self, prepared: Prepared, verdict: Verdict) -> Verdict:
        """Nobody is asked to approve a call whose secret is not there."""
        try:
            await self._vault.check(prepared.require().secrets)
        except Fault as fault:
            return _denial(verdict, fault.code, fault.message, fault.fix)
        return verdict


def _denial(verdict: Verdict, code: str, message: str, fix: str) -> Verdict:
    # It is no policy's no.
    return replace(
        verdict,
        ruling=Ruling.DENY,
        code=code,
        message=message,
        fix=fix,
        policies=(),
        exact=None,
        tier=None,
    )


def _no_room(said: str, key: str) -> Exhausted:
    return Exhausted(
        f"{said}, and no device has more than three quarters of what others leave",
        code="TOO_MANY_CALLS",
        fix=f"end some, or try again later; the limit is calls.{key}",
        retry_seconds=SOON_SECONDS,
    )
