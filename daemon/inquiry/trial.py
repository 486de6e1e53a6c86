"""Policy tests, put to a policy set: what was expected, what was found.

Trusted never to let a test pass that could not be asked: a tool, workspace or device that is not
there fails its test, also one that expects a denial. Every tier is taken to work: what this machine
lacks says nothing about the set. Pure but for the devices it is given; raises
nothing of its own.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from daemon.acts import may_do
from daemon.calls.hearing import Outcome, Ruling, hear, may_answer
from daemon.errors import Fault
from daemon.identity.devices import Devices
from daemon.inquiry.expectations import PolicyTest, Request
from daemon.inquiry.suppose import (
    Circumstances,
    Person,
    Somebody,
    Supposed,
    approvers_of,
    find,
    suppose,
    together,
)
from daemon.world import World
from policy.entities import WorkspaceEntity
from policy.statements import PolicyRef


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One thing that is not as it was expected."""

    what: str
    expected: str
    found: str


@dataclass(frozen=True, slots=True)
class Result:
    """One test's."""

    test: PolicyTest
    mismatches: tuple[Mismatch, ...]
    found: str
    policies: tuple[PolicyRef, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether all was as expected."""
        return not self.mismatches


@dataclass(frozen=True, slots=True)
class _Answer:
    word: str
    code: str
    message: str
    tier: str
    policies: tuple[PolicyRef, ...]


def run_test(devices: Devices, world: World, test: PolicyTest, now: datetime) -> Result:
    """The result of one test."""
    try:
        answer = _ask(devices, world, test, now)
    except Fault as fault:
        mismatch = Mismatch("test", "a request that can be asked", f"{fault.code}: {fault.message}")
        return Result(test, (mismatch,), fault.message)
    found = f"{answer.word} ({answer.code})" + (f": {answer.message}" if answer.message else "")
    mismatches = tuple(_mismatches(test.request, answer))
    return Result(test, mismatches, found, answer.policies)


def _ask(devices: Devices, world: World, test: PolicyTest, now: datetime) -> _Answer:
    request = test.request
    by = find(devices, world, _somebody(request))
    around = Circumstances(_moment(world, request.time) or now, request.origin, request.maintenance)
    if request.action is not None:
        return _act(world, by, request.action, around)
    supposed_workspaces = tuple(
        WorkspaceEntity(name, access == "write")
        for name, access in test.workspaces.items()
        if name not in world.workspaces
    )
    arguments = json.dumps(request.arguments or {}).encode()
    around = replace(around, workspaces=supposed_workspaces, waited=request.waited)
    supposed = suppose(world, by, request.tool or "", arguments, around)
    if supposed.undeclared is not None:
        return _Answer("denied", supposed.undeclared[0], "", "", ())
    if request.approved_by is None:
        return _answer(hear(world.pdp, supposed.case, {}), "unattended")
    people = [
        find(devices, world, _person(one), number)
        for number, one in enumerate(request.approved_by, 2)
    ]
    return _attended(world, supposed, people)


def _attended(world: World, supposed: Supposed, people: Sequence[Person]) -> _Answer:
    case = together(supposed.case, people)
    alone = hear(world.pdp, case, {})
    if alone.tier is None:
        return _answer(alone, "approved")
    tier = alone.tier
    counting = [one for one in people if may_answer(world.pdp, case, tier, one.subjects[0]).allowed]
    return _answer(hear(world.pdp, case, {}, approvers_of(counting)), "approved")


def _act(world: World, by: Person, action: str, around: Circumstances) -> _Answer:
    decision = may_do(
        world,
        by.subjects,
        action,
        time=around.time,
        origin=around.origin,
        maintenance=around.maintenance,
        entities=by.entities,
    )
    word = "permitted" if decision.allowed else "denied"
    return _Answer(word, decision.code.value, "; ".join(decision.errors), "", decision.reasons)


def _answer(outcome: Outcome, permitted: str) -> _Answer:
    words = {Ruling.PERMIT: permitted, Ruling.ASK: "asked", Ruling.DENY: "denied"}
    tier = outcome.tier.label if outcome.tier else ""
    message = outcome.message if outcome.ruling is Ruling.DENY else ""
    return _Answer(words[outcome.ruling], outcome.code, message, tier, outcome.policies)


def _mismatches(request: Request, answer: _Answer) -> list[Mismatch]:
    found = []
    if request.expect != answer.word:
        found.append(Mismatch("expect", request.expect, answer.word))
    if request.tier is not None and request.tier != answer.tier:
        found.append(Mismatch("tier", request.tier, answer.tier or "none"))
    if request.code is not None and request.code != answer.code:
        found.append(Mismatch("code", request.code, answer.code))
    names = {ref.id for ref in answer.policies}
    if request.policies is not None and not set(request.policies) <= names:
        expected, got = ", ".join(request.policies), ", ".join(sorted(names)) or "none"
        found.append(Mismatch("policies", expected, got))
    return found


def _somebody(request: Request) -> Somebody:
    if request.by is not None:
        return Somebody(name=request.by)
    return Somebody(groups=tuple(request.groups or ()), agent=request.agent)


def _person(one: list[str] | str) -> Somebody:
    return Somebody(name=one) if isinstance(one, str) else Somebody(groups=tuple(one))


def _moment(world: World, time: datetime | None) -> datetime | None:
    """A time without a zone is on the operator's clock."""
    if time is not None and time.tzinfo is None:
        return time.replace(tzinfo=world.zone)
    return time
