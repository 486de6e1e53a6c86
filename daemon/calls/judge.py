"""What policy says of a call that came: the hearing of `daemon.calls.hearing`, and what it is of.

Pure: a world, a call and a time in; a verdict out. Trusted to put to policy exactly what was asked,
and to name in the verdict everything that an approval is bound to and an explanation needs. What
the agent's manifest does not declare is refused before policy is asked.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache, partial
from typing import Any

from daemon.calls.asked import Asked, Witness, named
from daemon.calls.heard import Heard
from daemon.calls.hearing import Approvers, Case, Ruling, hear, may_answer
from daemon.calls.standing import Asker, Standing
from daemon.identity.agent_manifest import Declared
from daemon.principal import Principal
from daemon.tools.arguments import ParsedArguments
from daemon.tools.manifest import Origin
from daemon.tools.registry import Tool
from daemon.vault.scope import not_its_own
from daemon.world import World
from policy.arguments import to_context
from policy.contexts import LeaseFacts
from policy.entities import Entity
from policy.errors import PolicyError
from policy.pdp import Decision
from policy.risk import RiskInputs, Tier, score, tier_floor
from policy.statements import PolicyRef
from policy.values import EntityUid
from stockade.statement import ExactCall

NO_VALID_POLICY = "NO_VALID_POLICY"

# How far the code of a tool is trusted, by where it came from.
CODE_TRUST: Mapping[Origin, Decimal] = {
    Origin.BUILTIN: Decimal("1.0"),
    Origin.OPERATOR: Decimal("0.5"),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """A ruling, the reason for it, and all that led there."""

    ruling: Ruling
    code: str
    message: str
    fix: str = ""
    policies: tuple[PolicyRef, ...] = ()
    asked: tuple[Asked, ...] = ()
    risk: RiskInputs | None = None
    risk_milli: int = 0
    tier: Tier | None = None
    exact: ExactCall | None = None
    policy_digest: str = ""
    # None where policy was not asked.
    heard: Heard | None = None
    # The lease by which it is permitted, if it is by one.
    lease: str = ""

    @property
    def in_tier(self) -> Tier:
        """The tier it is for; LookupError for a ruling that came before there was one."""
        if self.tier is None:
            raise LookupError("this ruling is for no tier")
        return self.tier

    @property
    def of_call(self) -> ExactCall:
        """Exactly what it is about; LookupError as for `in_tier`."""
        if self.exact is None:
            raise LookupError("this ruling is about no exact call")
        return self.exact


@dataclass(frozen=True, slots=True)
class Candidate:
    """A call whose tool exists and whose arguments fit it."""

    principal: Principal
    tool: Tool
    parsed: ParsedArguments

    @property
    def arguments(self) -> Mapping[str, Any]:
        """The arguments' value."""
        return self.parsed.value

    @property
    def workspace(self) -> str:
        """The workspace the call names; empty if none."""
        wanted = self.tool.manifest.workspace
        return str(self.arguments.get(wanted.argument, "")) if wanted else ""

    @property
    def secrets(self) -> tuple[str, ...]:
        """What the tool asks for, by reference."""
        return tuple(secret.reference for secret in self.tool.manifest.secrets)


def _floor(tool: Tool, risk: RiskInputs, world: World) -> Tier:
    """By the risk; and only containers have images."""
    floor = _least(score(risk), world.floors)
    return max(floor, Tier.CONTAINER) if tool.manifest.image else floor


def case_of(
    world: World,
    subjects: Sequence[EntityUid],
    tool: Tool,
    arguments: Mapping[str, Any],
    *,
    origin: str,
    time: datetime,
    entities: tuple[Entity, ...] = (),
) -> Case:
    """The case of a call of this tool; `PolicyError` for what policy cannot be told exactly."""
    risk = risk_inputs(tool)
    wanted = tool.manifest.workspace
    return Case(
        subjects=tuple(subjects),
        tool=tool.name,
        arguments=to_context(tool.name, world.translations[tool.name], arguments),
        risk=risk,
        floor=_floor(tool, risk, world),
        time=world.local(time),
        maintenance=world.data.maintenance,
        origin=origin,
        workspace=str(arguments.get(wanted.argument, "")) if wanted else "",
        secrets=tuple(secret.reference for secret in tool.manifest.secrets),
        entities=entities,
    )


def judge(
    world: World,
    candidate: Candidate,
    now: datetime,
    approvers: Sequence[Principal] | None = None,
    leases: Sequence[Standing] = (),
) -> Verdict:
    """The verdict on a call; with `approvers`, on whether their approval is enough by now.

    `leases` are those that were given for calls of this kind, by this caller.
    """
    inputs = risk_inputs(candidate.tool)
    verdict = partial(
        Verdict, risk=inputs, risk_milli=milli(score(inputs)), policy_digest=world.digest
    )
    if world.fault is not None:
        message = f"no valid policy set is in force: {world.fault.message}"
        return verdict(Ruling.DENY, NO_VALID_POLICY, message, world.fault.fix)
    if (refusal := _undeclared(world, candidate)) is not None:
        code, what = refusal
        return verdict(
            Ruling.DENY,
            code,
            f"the agent's manifest does not declare {what}",
            "add it to the manifest's [capabilities] and enroll the agent again",
        )
    stranger = not_its_own(candidate.secrets, candidate.principal, candidate.tool.name)
    if stranger is not None:
        return verdict(
            Ruling.DENY,
            "SECRET_OUT_OF_SCOPE",
            f"{stranger} is neither everybody's, nor this caller's, nor this tool's",
            "name a secret of its own, or secret://global/NAME, in the tool's manifest",
        )
    try:
        case = _case(world, candidate, now)
        if leases:
            digest = hashlib.sha256(candidate.parsed.canonical).hexdigest()
            case = replace(case, arguments_digest=digest)
        outcome = hear(
            world.pdp, case, world.unavailable, _approvers(world, approvers), leases=leases
        )
    except PolicyError as error:
        # What cannot be put to policy exactly is not permitted.
        return verdict(Ruling.DENY, error.code, str(error), error.fix)
    return verdict(
        outcome.ruling,
        outcome.code,
        outcome.message,
        outcome.fix,
        policies=tuple(named(outcome.policies)),
        asked=outcome.asked,
        tier=outcome.tier,
        exact=_exact(world, candidate, outcome.tier) if outcome.tier else None,
        heard=_heard(world, case, approvers, outcome.leases),
        lease=outcome.lease,
    )


def may_approve(
    world: World,
    candidate: Candidate,
    verdict: Verdict,
    now: datetime,
    approver: Principal,
    asked_ms: int,
    witness: Witness | None = None,
) -> Decision:
    """Whether this person's yes to this call counts; it was asked about at `asked_ms`."""
    waited = max(0, int(now.timestamp() * 1000) - asked_ms) // 1000
    case = replace(_case(world, candidate, now), waited=waited)
    return may_answer(world.pdp, case, verdict.in_tier, world.principal_uid(approver), witness)


def may_grant(
    world: World,
    candidate: Candidate,
    verdict: Verdict,
    now: datetime,
    approver: Principal,
    lease: LeaseFacts,
    witness: Witness,
) -> Decision:
    """Whether this person may say yes to calls to come."""
    case = _case(world, candidate, now)
    asker = Asker(world.pdp, case.subjects, EntityUid("Tool", case.tool), witness)
    return asker.may_grant(case.facts(verdict.in_tier), world.principal_uid(approver), lease)


def may_stand(
    world: World,
    candidate: Candidate,
    verdict: Verdict,
    now: datetime,
    lease: Standing,
) -> bool:
    """Whether the lease's permits cover this very call, and no forbid wins; whoever signed it."""
    digest = hashlib.sha256(candidate.parsed.canonical).hexdigest()
    case = _case(world, candidate, now)
    asker = Asker(world.pdp, case.subjects, EntityUid("Tool", case.tool), lambda *_: None)
    return asker.permits(case.facts(verdict.in_tier), digest, lease) is not None


def undeclared_by(
    world: World, tool: Tool, secrets: Sequence[str], declared: Declared
) -> tuple[str, str] | None:
    """Why an agent gets this tool not, whatever policy says: a code, and what is not declared."""
    if not declared.covers_tool(tool.name, world.toolsets(tool)):
        return "UNDECLARED_TOOL", f"the tool {tool.name}"
    for name in secrets:
        if not declared.covers_secret(name):
            return "UNDECLARED_SECRET", name
    return None


def risk_inputs(tool: Tool) -> RiskInputs:
    """What the risk of a call of this tool is made of."""
    capabilities = tool.manifest.capabilities
    return _inputs(
        tool.manifest.risk.data_sensitivity,
        CODE_TRUST[tool.origin],
        capabilities.network,
        capabilities.filesystem_write,
        capabilities.external_apis,
    )


# Checked once for each kind of tool.
_inputs = lru_cache(maxsize=1024)(RiskInputs)
_least = lru_cache(maxsize=1024)(tier_floor)


def _case(world: World, candidate: Candidate, now: datetime) -> Case:
    principal = candidate.principal
    return case_of(
        world,
        world.subjects(principal),
        candidate.tool,
        candidate.arguments,
        origin=principal.origin,
        time=now,
    )


def _undeclared(world: World, candidate: Candidate) -> tuple[str, str] | None:
    principal = candidate.principal
    if principal.name.kind == "device":
        return None
    declared = principal.agent.declared if principal.agent else Declared()
    return undeclared_by(world, candidate.tool, candidate.secrets, declared)


def _approvers(world: World, approvers: Sequence[Principal] | None) -> Approvers | None:
    if approvers is None:
        return None
    return Approvers(
        frozenset(EntityUid("Device", approver.device_id) for approver in approvers),
        world.groups(group for approver in approvers for group in approver.groups),
    )


def _heard(
    world: World,
    case: Case,
    approvers: Sequence[Principal] | None,
    leases: tuple[Standing, ...],
) -> Heard:
    return Heard(
        time_ms=round(case.time.timestamp() * 1000),
        zone=str(world.zone),
        maintenance=case.maintenance,
        floor=case.floor,
        secrets=case.secrets,
        approvers=None if approvers is None else tuple(sorted({a.device_id for a in approvers})),
        leases=leases,
        snapshot=world.snapshot,
    )


def _exact(world: World, candidate: Candidate, tier: Tier) -> ExactCall:
    return ExactCall(
        principal=str(candidate.principal),
        tool=candidate.tool.name,
        tool_digest=candidate.tool.digest,
        arguments=candidate.arguments,
        tier=tier.label,
        secrets=candidate.secrets,
        workspace=candidate.workspace,
        policy_digest=world.digest,
        # Nothing grants any yet: the door of every sandbox is shut (daemon/egress.py).
        hosts=(),
    )


def milli(risk: Decimal) -> int:
    """The score in thousandths, rounded up: never understated."""
    return int((risk * 1000).to_integral_value(ROUND_CEILING))
