"""Calls that were made, put to another policy set: which would be decided otherwise.

Each call is heard in its own circumstances, as its receipts have them: time, risk, entities, those
who approved. Only the policies are others. What cannot be heard like that (entities no longer kept,
a tool that is gone or takes other arguments now) is counted with its reason and not guessed at.
Trusted to claim nothing of calls that nobody made. Raises the store's faults.
"""

from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass, field

import anyio.to_thread
from sqlalchemy import Connection

from daemon.background_work import beside_calls, rest
from daemon.calls.asked import Asked
from daemon.calls.hearing import TIER_UNAVAILABLE, Approvers, Case, Ruling, hear, may_answer
from daemon.calls.standing import Standing
from daemon.inquiry import past
from daemon.inquiry.archive import Archive, Gone
from daemon.inquiry.explanation import recorded_question
from daemon.inquiry.past import Terms, Told
from daemon.store import calls, leases, receipts
from daemon.store.calls import CallRow
from daemon.store.reader import Reader
from daemon.world import World
from policy.entity_store import EntityStore
from policy.errors import PolicyError
from policy.pdp import PDP
from policy.risk import Tier
from policy.snapshot import KeptEntity
from policy.statements import PolicyRef

DEFAULT_CALLS, MAX_CALLS = 1000, 20_000
PAGE = 50
# Decision points for the entities of different times.
HELD = 4

RANKS = ("denied", "asked", "approved", "unattended")


@dataclass(frozen=True, slots=True)
class Decided:
    """What becomes of a call."""

    ruling: str
    reason: str
    tier: Tier | None
    policies: tuple[PolicyRef, ...]


@dataclass(frozen=True, slots=True)
class Replayed:
    """A call, decided by both."""

    row: CallRow
    before: Decided
    after: Decided

    @property
    def more(self) -> bool:
        """Whether it may do more than before: run at all, with fewer people, in a weaker tier."""
        return self._step > 0 or (self._step == 0 and self._tiers < 0)

    @property
    def less(self) -> bool:
        """The opposite."""
        return self._step < 0 or (self._step == 0 and self._tiers > 0)

    @property
    def _step(self) -> int:
        return RANKS.index(self.after.ruling) - RANKS.index(self.before.ruling)

    @property
    def _tiers(self) -> int:
        if self.before.tier is None or self.after.tier is None:
            return 0
        return self.after.tier - self.before.tier


@dataclass(slots=True)
class Summary:
    """What a replay looked at."""

    calls: int = 0
    same: int = 0
    more: int = 0
    less: int = 0
    passed: Counter[str] = field(default_factory=Counter)
    newest_ms: int = 0
    oldest_ms: int = 0


class _PassedError(Exception):
    """Why a call says nothing about the set; never leaves this module."""


class Replay:
    """One replay; used once."""

    def __init__(
        self,
        *,
        candidate: World,
        # None: what was decided then.
        baseline: World | None,
        archive: Archive,
        reader: Reader,
        chain_id: str,
    ) -> None:
        self._candidate = candidate
        self._baseline = baseline
        self._archive = archive
        self._reader = reader
        self._chain_id = chain_id
        self._points: OrderedDict[str, tuple[PDP, PDP | None] | str] = OrderedDict()
        self.summary = Summary()

    async def run(self, limit: int, since_ms: int) -> AsyncGenerator[Replayed, None]:
        """The calls that would be decided otherwise, newest first; the rest is in the summary."""
        before: calls.Cursor | None = None
        while self.summary.calls < limit:
            page = await self._page(before, min(PAGE, limit - self.summary.calls))
            for row, told, terms in page:
                if row.created_ms < since_ms:
                    return
                self._count(row)
                try:
                    found = await self._one(row, told, terms)
                except _PassedError as passed:
                    self.summary.passed[str(passed)] += 1
                    continue
                if found.more or found.less:
                    self.summary.more += found.more
                    self.summary.less += found.less
                    yield found
                else:
                    self.summary.same += 1
            if len(page) < PAGE:
                return
            before = calls.cursor(page[-1][0])

    def _count(self, row: CallRow) -> None:
        self.summary.calls += 1
        self.summary.oldest_ms = row.created_ms
        self.summary.newest_ms = self.summary.newest_ms or row.created_ms

    async def _page(
        self, before: calls.Cursor | None, limit: int
    ) -> list[tuple[CallRow, tuple[Told, ...], Terms]]:
        def query(connection: Connection) -> list[tuple[CallRow, tuple[Told, ...], Terms]]:
            found = list[tuple[CallRow, tuple[Told, ...], Terms]]()
            for row in calls.page(connection, before=before, limit=limit):
                rows = receipts.by_call(connection, self._chain_id, row.call_id)
                told = past.hearings(rows)
                ids = (lease_id for one in told for lease_id in one.lease_ids)
                found.append((row, told, leases.signed(connection, ids)))
            return found

        return await self._reader.read(query)

    async def _one(self, row: CallRow, told: Sequence[Told], terms: Terms) -> Replayed:
        if not told or not told[0].questions:
            raise _PassedError("it was refused before policy was asked")
        if not told[0].heard:
            raise _PassedError("an older version recorded too little of it")
        if any(one.body.get("reason") == TIER_UNAVAILABLE for one in told):
            raise _PassedError("the tier that it needed did not work then")
        # Where people approved and policy let them, that ruling counts; else the first.
        last = told[-1] if told[-1].ruling is Ruling.PERMIT and told[-1].heard else told[0]
        points = await self._points_of(str(last.heard.get("entities")))
        if isinstance(points, str):
            raise _PassedError(points)
        return await anyio.to_thread.run_sync(self._decide, row, told[0], last, points, terms)

    def _decide(
        self,
        row: CallRow,
        first: Told,
        last: Told,
        points: tuple[PDP, PDP | None],
        terms: Terms,
    ) -> Replayed:
        translation = self._candidate.translations.get(row.tool)
        if translation is None:
            raise _PassedError("its tool is not there any more")
        if not row.arguments:
            redacted = row.redacted is not None
            raise _PassedError(f"its arguments were {'redacted' if redacted else 'pruned'}")
        case = past.case_of(row, last, translation)
        if case is None:
            raise _PassedError("its tool takes other arguments now")
        candidate, baseline = points
        approvers = past.approvers_of(last, candidate.entities)
        signed = past.leases_of(first, case, terms, translation, candidate)
        if signed is None:
            raise _PassedError("the lease that it had cannot be read any more")

        def under(world: World) -> list[Standing]:
            """A lease that is tied to a policy stands under no other."""
            return [lease for one, lease in signed if one.policy_digest in ("", world.digest)]

        after = _decided(candidate, case, approvers, under(self._candidate))
        if self._baseline is None or baseline is None:
            return Replayed(row, _recorded(first, last), after)
        before = _decided(baseline, case, approvers, under(self._baseline))
        return Replayed(row, before, after)

    async def _points_of(self, digest: str) -> tuple[PDP, PDP | None] | str:
        """The two sets, over the entities of that time; or why there are none."""
        found = self._points.get(digest)
        if found is None:
            entities = await self._archive.entities(digest)
            if isinstance(entities, Gone):
                found = entities.reason
            else:
                found = await anyio.to_thread.run_sync(self._build, entities)
            self._points[digest] = found
            while len(self._points) > HELD:
                self._points.popitem(last=False)
        return found

    def _build(self, entities: Sequence[KeptEntity]) -> tuple[PDP, PDP | None] | str:
        bundle = self._candidate.bundle
        try:
            with beside_calls():
                store = EntityStore.build(entities, bundle.schema, rest)
        except PolicyError:
            return "the entities of that time do not fit today's schema"
        if self._baseline is None:
            return PDP(bundle, store), None
        return PDP(bundle, store), PDP(self._baseline.bundle, store)


def _decided(
    pdp: PDP, case: Case, approvers: Approvers | None, standing: Sequence[Standing]
) -> Decided:
    """By this set: with the leases that it had first, then with those whose yes it had."""
    # A tier that does not work today says nothing about the set.
    outcome = hear(pdp, case, {}, leases=standing)
    ruling = {Ruling.PERMIT: "unattended", Ruling.ASK: "asked", Ruling.DENY: "denied"}
    if outcome.ruling is Ruling.ASK and approvers is not None and outcome.tier is not None:
        tier = outcome.tier
        left = frozenset(
            uid for uid in approvers.devices if may_answer(pdp, case, tier, uid).allowed
        )
        attended = hear(pdp, case, {}, past.counting(left, pdp.entities))
        if attended.ruling is Ruling.PERMIT:
            return Decided("approved", attended.code, attended.tier, attended.policies)
    return Decided(ruling[outcome.ruling], outcome.code, outcome.tier, outcome.policies)


def _recorded(first: Told, last: Told) -> Decided:
    """What was decided then."""
    approved = last is not first and last.ruling is Ruling.PERMIT
    told = last if approved else first
    words: Mapping[Ruling, str] = {
        Ruling.PERMIT: "approved" if approved else "unattended",
        Ruling.ASK: "asked",
        Ruling.DENY: "denied",
    }
    asked: list[Asked] = [recorded_question(one) for one in told.questions]
    policies = asked[-1].policies if asked else ()
    return Decided(words[told.ruling], str(told.body.get("reason", "")), told.tier, policies)
