"""Answers to "why?" and "what if?", for the operator. Changes nothing.

Puts together what is in force, what was recorded and what is supposed. What takes long is done off
the event loop. Raises `NotFound`, `BadRequest` (POLICY_INVALID for a set that cannot be asked), and
the store's faults.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import anyio.to_thread
from sqlalchemy import Connection

from daemon.acts import may_do
from daemon.background_work import rest
from daemon.calls.hearing import Case, Ruling, may_answer
from daemon.calls.judge import case_of, undeclared_by
from daemon.calls.standing import Standing
from daemon.clock import Clock
from daemon.errors import BadRequest, NotFound
from daemon.identity.devices import Devices
from daemon.inquiry import past
from daemon.inquiry.archive import Archive
from daemon.inquiry.expectations import PolicyTest
from daemon.inquiry.explanation import (
    Explained,
    Transcript,
    differences,
    explain_now,
    explain_past,
    refused_unasked,
)
from daemon.inquiry.replay import Replay
from daemon.inquiry.suppose import (
    MAX_APPROVERS,
    Circumstances,
    Person,
    Somebody,
    Supposed,
    approvers_of,
    find,
    suppose,
    together,
)
from daemon.inquiry.trial import Result, run_test
from daemon.policy.policies import Policies
from daemon.store import calls, leases, receipts
from daemon.store.calls import CallRow
from daemon.store.ids import CallId
from daemon.store.reader import Reader
from daemon.store.receipts import ReceiptRow
from daemon.tools.arguments import parse_arguments, validate
from daemon.tools.errors import ArgumentsError
from daemon.tools.registry import Tool
from daemon.world import World
from daemon.worlds import Worlds
from policy.errors import PolicyError
from policy.pace import paced
from policy.snapshot import KeptEntity, parse_snapshot
from policy.values import EntityUid


@dataclass(frozen=True, slots=True)
class PastCall:
    """A call that was made: its rulings, the answers of people, and how it would be today."""

    row: CallRow
    rulings: tuple[Explained, ...]
    answers: tuple[Mapping[str, Any], ...]
    today: Explained | None
    today_unknown: str
    differences: tuple[str, ...]
    # What is kept in place of the arguments, where it is what the receipt names.
    redacted: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Source:
    """A policy set by its files or its version; the one in force if neither."""

    version: str = ""
    files: Mapping[str, str] | None = None


_CHANGED = ", and the database has another than its receipt names: somebody changed it"

StandingFor = Callable[[World, str, Sequence[EntityUid], Tool], Sequence[Standing]]
"""The leases that stand now for calls of this tool by this principal."""


class Inquiry:
    """See the module."""

    def __init__(
        self,
        *,
        worlds: Worlds,
        policies: Policies,
        devices: Devices,
        archive: Archive,
        reader: Reader,
        clock: Clock,
        chain_id: str,
        standing_for: StandingFor,
    ) -> None:
        self._worlds = worlds
        self._policies = policies
        self._devices = devices
        self._archive = archive
        self._reader = reader
        self._clock = clock
        self._chain_id = chain_id
        self._standing_for = standing_for

    async def world_of(self, source: Source) -> World:
        """The world in force, with that policy set in place of its own."""
        if source.files is None and not source.version:
            return self._worlds.current
        files = source.files
        if files is None:
            files = (await self._policies.version(source.version)).files
        return await self._policies.supposed(files)

    async def past_call(self, call_id: CallId) -> PastCall:
        """Why a call was decided as it was, and how it would be today."""

        def query(connection: Connection) -> tuple[CallRow | None, tuple[ReceiptRow, ...]]:
            found = calls.get(connection, call_id)
            return found, receipts.by_call(connection, self._chain_id, call_id)

        row, rows = await self._reader.read(query)
        if row is None:
            raise NotFound(
                "there is no such call",
                code="UNKNOWN_CALL",
                fix="`stockade calls list` shows the calls you may see",
            )
        rulings, hearings = [], past.hearings(rows)
        ids = [lease_id for told in hearings for lease_id in told.lease_ids]
        terms = await self._reader.read(lambda connection: leases.signed(connection, ids))
        for told in hearings:
            then = await self._archive.then(told.policy_digest, str(told.heard.get("entities")))
            rulings.append(await anyio.to_thread.run_sync(explain_past, row, told, then, terms))
        copy = past.redacted_copy(row, rows)
        today, why = await self._today(row, copy, rulings[0].code if rulings else "")
        answers = (row.entry for row in rows if row.entry.kind == "approval.answered")
        return PastCall(
            row,
            tuple(rulings),
            tuple({**json.loads(one.canonical)["body"], "time": one.time} for one in answers),
            today,
            why,
            differences(rulings[0], today) if today and rulings else (),
            copy,
        )

    async def supposed_call(
        self,
        world: World,
        by: Somebody,
        tool: str,
        arguments: bytes,
        around: Circumstances,
        approvers: Sequence[Somebody] | None,
    ) -> tuple[Supposed, Explained]:
        """How a call would be decided that nobody has made."""
        found = suppose(world, find(self._devices, world, by), tool, arguments, around)
        if found.undeclared is not None:
            return found, _undeclared(world, *found.undeclared)
        people = self._people(world, approvers)
        entities = await self._entities(world)
        standing = self._standing(world, found.case, found.tool)
        return found, await anyio.to_thread.run_sync(
            _explain_supposed, world, found.case, people, entities, standing
        )

    async def supposed_act(
        self, world: World, by: Somebody, action: str, around: Circumstances
    ) -> tuple[Person, Explained]:
        """How an administrative act would be decided that nobody has done."""
        person = find(self._devices, world, by)
        transcript = Transcript()
        decision = may_do(
            world,
            person.subjects,
            action,
            time=around.time,
            origin=around.origin,
            maintenance=around.maintenance,
            entities=person.entities,
            witness=transcript,
        )
        more = {entity.uid: KeptEntity.of(entity) for entity in person.entities}
        explained = Explained(
            ruling=Ruling.PERMIT if decision.allowed else Ruling.DENY,
            code=decision.code.value,
            message=f"policy {'lets' if decision.allowed else 'does not let'} them do {action}",
            policy_digest=world.digest,
            questions=tuple(transcript.answered),
            entities=transcript.concerned({**await self._entities(world), **more}),
            entities_digest=world.snapshot.digest,
            time=world.local(around.time),
            texts=transcript.texts(world.pdp),
        )
        return person, explained

    async def test(self, world: World, tests: Sequence[PolicyTest]) -> tuple[Result, ...]:
        """The results of policy tests, in order."""
        now = self._clock.now()

        def run() -> tuple[Result, ...]:
            each = paced(tests, rest, every=1)
            return tuple(run_test(self._devices, world, test, now) for test in each)

        return await anyio.to_thread.run_sync(run)

    def replay(self, candidate: World, baseline: World | None) -> Replay:
        """A replay of the calls that were made; a baseline of None is what was decided then."""
        return Replay(
            candidate=candidate,
            baseline=baseline,
            archive=self._archive,
            reader=self._reader,
            chain_id=self._chain_id,
        )

    def around(
        self, time: datetime | None, origin: str, maintenance: bool | None, waited: int = 0
    ) -> Circumstances:
        """Circumstances, as they are now where they are not given."""
        return Circumstances(time or self._clock.now(), origin, maintenance, waited=waited)

    def _people(self, world: World, approvers: Sequence[Somebody] | None) -> list[Person] | None:
        if approvers is None:
            return None
        if len(approvers) > MAX_APPROVERS:
            raise BadRequest(
                f"more than {MAX_APPROVERS} approvers", fix=f"name at most {MAX_APPROVERS}"
            )
        people = [find(self._devices, world, one, n) for n, one in enumerate(approvers, 2)]
        if any(person.subjects[0].type != "Device" for person in people):
            raise BadRequest(
                "an agent answers for no call",
                code="AGENT_CANNOT_APPROVE",
                fix="name devices",
            )
        return people

    async def _today(
        self, row: CallRow, copy: bytes | None, then: str
    ) -> tuple[Explained | None, str]:
        """The call as it would be if it came now; or why that cannot be said. `then`: its code."""
        world = self._worlds.current
        tool = world.registry.get(row.tool)
        if tool is None and then == "UNKNOWN_TOOL":
            return refused_unasked(then, f"there is no tool {row.tool!r}", world.digest), ""
        if tool is None:
            return None, f"there is no tool {row.tool} any more"
        if not row.arguments:
            changed = row.redacted is not None and copy is None
            return None, f"{past.missing(row)}{_CHANGED if changed else ''}"
        try:
            parsed = parse_arguments(row.arguments)
            validate(tool, parsed)
            case = case_of(
                world,
                past.subjects(row),
                tool,
                parsed.value,
                origin=row.origin,
                time=self._clock.now(),
            )
            case = replace(case, arguments_digest=hashlib.sha256(parsed.canonical).hexdigest())
        except ArgumentsError as error:
            if error.code == then:
                return refused_unasked(then, error.message, world.digest), ""
            return None, f"the tool {row.tool} takes other arguments now"
        except PolicyError:
            return None, f"the tool {row.tool} takes other arguments now"
        if case.workspace and case.workspace not in world.workspaces:
            message = f"there is no workspace {case.workspace!r:.80}"
            return refused_unasked("UNKNOWN_WORKSPACE", message, world.digest), ""
        agent = self._devices.agents.get(case.subjects[0].id)
        if case.subjects[0].type == "Agent" and agent is not None:
            refusal = undeclared_by(world, tool, case.secrets, agent.identity.declared)
            if refusal is not None:
                return _undeclared(world, *refusal), ""
        entities, standing = await self._entities(world), self._standing(world, case, tool)
        explained = await anyio.to_thread.run_sync(
            _explain_supposed, world, case, None, entities, standing
        )
        return explained, ""

    def _standing(self, world: World, case: Case, tool: Tool) -> Sequence[Standing]:
        caller = case.subjects[0]
        return self._standing_for(world, f"{caller.type.lower()}/{caller.id}", case.subjects, tool)

    async def _entities(self, world: World) -> Mapping[EntityUid, KeptEntity]:
        content = world.snapshot.snapshot.content
        kept = await anyio.to_thread.run_sync(parse_snapshot, content)
        return {entity.uid: entity for entity in kept}


def _undeclared(world: World, code: str, what: str) -> Explained:
    return refused_unasked(code, f"the agent's manifest does not declare {what}", world.digest)


def _explain_supposed(
    world: World,
    case: Case,
    people: Sequence[Person] | None,
    entities: Mapping[EntityUid, KeptEntity],
    standing: Sequence[Standing],
) -> Explained:
    """Heard with nobody's word; then, if people have answered, with that of those who may."""
    more = {one.uid: KeptEntity.of(one) for one in together(case, people or ()).entities}

    def heard(with_people: Sequence[Person] | None) -> Explained:
        return explain_now(
            world.pdp,
            together(case, people or ()),
            world.unavailable,
            None if with_people is None else approvers_of(with_people),
            standing,
            policy_digest=world.digest,
            entities_digest=world.snapshot.digest,
            entities={**entities, **more},
        )

    alone = heard(None)
    if people is None or alone.tier is None:
        return alone
    transcript, counting = Transcript(), []
    for person in people:
        uid = person.subjects[0]
        decision = may_answer(world.pdp, together(case, people), alone.tier, uid, transcript)
        counting += [person] if decision.allowed else []
    attended = heard(counting)
    return replace(
        attended,
        questions=(*transcript.answered, *attended.questions),
        texts={**transcript.texts(world.pdp), **attended.texts},
    )
