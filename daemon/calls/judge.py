"""What policy says of a call: the questions of docs/design.md, in order, each answered by Cedar.

Pure: a world, a call and a time in; a verdict out. Trusted never to permit without a plain yes to
every question, and never to let a human's yes stand in for policy's: with approvals the very same
questions are asked, only "unattended?" becomes "attended by these?". The checks run before anybody
is asked to approve, so that nobody approves what could not run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import ROUND_CEILING, Decimal
from enum import Enum
from typing import Any

from daemon.agent_manifest import Declared
from daemon.principal import Principal
from daemon.tools.arguments import ParsedArguments
from daemon.tools.manifest import Origin
from daemon.tools.registry import Tool
from daemon.world import World, secret_uid
from policy.arguments import to_context
from policy.contexts import (
    CallFacts,
    Context,
    approve_context,
    attended_context,
    call_context,
    secret_context,
)
from policy.errors import PolicyError
from policy.pdp import Decision, Question, ReasonCode
from policy.risk import RiskInputs, Tier, score, tier_floor
from policy.statements import PolicyRef
from policy.tier import choose_tier
from policy.values import EntityUid
from stockade.statement import ExactCall

TIER_UNAVAILABLE = "TIER_UNAVAILABLE"

# How far the code of a tool is trusted, by where it came from.
CODE_TRUST: Mapping[Origin, Decimal] = {
    Origin.BUILTIN: Decimal("1.0"),
    Origin.OPERATOR: Decimal("0.5"),
}


class Ruling(Enum):
    """The three answers to a call."""

    PERMIT = "permit"
    ASK = "ask"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Asked:
    """One question and its answer, as the receipt has it."""

    action: str
    principal: str
    resource: str
    allowed: bool
    code: str
    policies: tuple[PolicyRef, ...]

    def to_json(self) -> dict[str, Any]:
        """For a receipt."""
        return {
            "action": self.action,
            "principal": self.principal,
            "resource": self.resource,
            "allowed": self.allowed,
            "code": self.code,
            "policies": [f"{ref.id} ({ref.file}:{ref.line})" for ref in self.policies],
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


@dataclass(slots=True)
class _Hearing:
    """One call being judged: what has been asked so far."""

    world: World
    candidate: Candidate
    facts: CallFacts
    asked: list[Asked] = field(default_factory=list)

    @property
    def tool(self) -> EntityUid:
        return EntityUid("Tool", self.candidate.tool.name)

    def ask(self, action: str, resource: EntityUid, context: Context) -> Decision:
        """Policy's answer; for an agent both its own and its device's, the first no if any."""
        reasons: tuple[PolicyRef, ...] = ()
        for subject in self.world.subjects(self.candidate.principal):
            decision = self.world.pdp.decide(Question(subject, action, resource, context))
            code, allowed = decision.code.value, decision.allowed
            self.asked.append(
                Asked(action, str(subject), str(resource), allowed, code, decision.reasons)
            )
            if not allowed:
                return decision
            reasons += tuple(ref for ref in decision.reasons if ref not in reasons)
        return replace(decision, reasons=reasons)

    def about(self, what: str) -> str:
        """What the last question was about, saying so if it was the agent's device's."""
        own = str(self.world.principal_uid(self.candidate.principal))
        return what if self.asked[-1].principal == own else f"{what} to the agent's device"


class _DeniedError(Exception):
    """Ends a hearing; never leaves this module."""

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict


def judge(
    world: World,
    candidate: Candidate,
    now: datetime,
    approvers: Sequence[Principal] | None = None,
) -> Verdict:
    """The verdict on a call; with `approvers`, on whether their approval is enough by now."""
    inputs = _risk_inputs(candidate.tool)
    risk = score(inputs)
    asked: list[Asked] = []
    try:
        floor = tier_floor(risk, world.floors)
        hearing = _Hearing(world, candidate, _facts(world, candidate, now, risk, floor), asked)
        tier = _examine(hearing, floor)
        ruling, code, policies = _conclude(hearing, approvers)
    except _DeniedError as denied:
        return replace(
            denied.verdict,
            asked=tuple(asked),
            risk=inputs,
            risk_milli=_milli(risk),
            policy_digest=world.digest,
        )
    except PolicyError as error:
        # What cannot be put to policy exactly is not permitted.
        return Verdict(
            Ruling.DENY,
            error.code,
            str(error),
            error.fix,
            asked=tuple(asked),
            risk=inputs,
            risk_milli=_milli(risk),
            policy_digest=world.digest,
        )
    exact = ExactCall(
        principal=str(candidate.principal),
        tool=candidate.tool.name,
        tool_digest=candidate.tool.digest,
        arguments=candidate.arguments,
        tier=tier.label,
        secrets=candidate.secrets,
        workspace=candidate.workspace,
        policy_digest=world.digest,
    )
    message = "policy permits it" if ruling is Ruling.PERMIT else "policy wants a human's yes"
    return Verdict(
        ruling,
        code,
        message,
        policies=policies,
        asked=tuple(asked),
        risk=inputs,
        risk_milli=_milli(risk),
        tier=tier,
        exact=exact,
        policy_digest=world.digest,
    )


def may_approve(
    world: World, candidate: Candidate, verdict: Verdict, now: datetime, approver: Principal
) -> Decision:
    """Whether this person's yes to this call counts."""
    assert verdict.tier is not None and verdict.risk is not None  # noqa: S101, PT018 - it was judged
    facts = _facts(world, candidate, now, score(verdict.risk), verdict.tier)
    requester = candidate.principal
    agent = world.principal_uid(requester) if requester.name.kind == "agent" else None
    context = approve_context(facts, EntityUid("Device", requester.device_id), agent)
    tool = EntityUid("Tool", candidate.tool.name)
    return world.pdp.decide(Question(world.principal_uid(approver), "approve", tool, context))


def _facts(
    world: World, candidate: Candidate, now: datetime, risk: Decimal, tier: Tier
) -> CallFacts:
    tool = candidate.tool
    return CallFacts(
        arguments=to_context(tool.name, world.translations[tool.name], candidate.arguments),
        risk=risk,
        tier=tier,
        time=world.local(now),
        maintenance=world.data.maintenance,
        origin=candidate.principal.origin,
        workspace=EntityUid("Workspace", candidate.workspace) if candidate.workspace else None,
        secrets=frozenset(secret_uid(name) for name in candidate.secrets),
    )


def _examine(hearing: _Hearing, floor: Tier) -> Tier:
    """May it be called at all; in which tier; with its secrets."""
    world, tool = hearing.world, hearing.tool
    _require_declared(world, hearing.candidate)
    context = call_context(hearing.facts)
    _require(hearing.ask("call", tool, context), hearing.about("this call"))
    tier = choose_tier(floor, lambda action: hearing.ask(action, tool, context)).tier
    if (missing := world.unavailable.get(tier)) is not None:
        message = f"the call needs the {tier.label} tier: {missing.reason}"
        raise _DeniedError(Verdict(Ruling.DENY, TIER_UNAVAILABLE, message, missing.fix))
    hearing.facts = replace(hearing.facts, tier=tier)
    for name in hearing.candidate.secrets:
        context = secret_context(hearing.facts, tool)
        decision = hearing.ask("use_secret", secret_uid(name), context)
        _require(decision, hearing.about(f"the use of {name}"))
    return tier


def _require_declared(world: World, candidate: Candidate) -> None:
    """An agent gets no tool and no secret that its manifest does not name, whatever policy says."""
    principal, tool = candidate.principal, candidate.tool
    if principal.name.kind == "device":
        return
    declared = principal.agent.declared if principal.agent else Declared()
    if not declared.covers_tool(tool.name, world.toolsets(tool)):
        raise _undeclared("UNDECLARED_TOOL", f"the tool {tool.name}")
    for name in candidate.secrets:
        if name not in declared.secrets:
            raise _undeclared("UNDECLARED_SECRET", name)


def _undeclared(code: str, what: str) -> _DeniedError:
    message = f"the agent's manifest does not declare {what}"
    fix = "add it to the manifest's [capabilities] and enroll the agent again"
    return _DeniedError(Verdict(Ruling.DENY, code, message, fix))


def _conclude(
    hearing: _Hearing, approvers: Sequence[Principal] | None
) -> tuple[Ruling, str, tuple[PolicyRef, ...]]:
    """With nobody's word, or with these people's."""
    if approvers is None:
        context = call_context(hearing.facts)
        unattended = hearing.ask("call_unattended", hearing.tool, context)
        if unattended.allowed:
            return Ruling.PERMIT, "PERMITTED", unattended.reasons
        return Ruling.ASK, "APPROVAL_REQUIRED", unattended.reasons
    context = attended_context(
        hearing.facts,
        frozenset(EntityUid("Device", approver.device_id) for approver in approvers),
        hearing.world.groups(group for approver in approvers for group in approver.groups),
    )
    attended = hearing.ask("call_attended", hearing.tool, context)
    if attended.allowed:
        return Ruling.PERMIT, "APPROVED", attended.reasons
    return Ruling.ASK, "APPROVAL_REQUIRED", attended.reasons


def _require(decision: Decision, what: str) -> None:
    if decision.allowed:
        return
    code = decision.code.value
    if decision.code is ReasonCode.FORBIDDEN:
        first = decision.reasons[0]
        message = f"{what} is forbidden by policy {first.id} ({first.file}:{first.line})"
    elif decision.code is ReasonCode.NOT_PERMITTED:
        message = f"no policy permits {what}"
    else:
        message = f"policy could not say yes to {what}: {'; '.join(decision.errors) or code}"
    fix = "`stockade policy show` prints the policies in force"
    raise _DeniedError(Verdict(Ruling.DENY, code, message, fix, decision.reasons))


def _milli(risk: Decimal) -> int:
    """The score in thousandths, rounded up: never understated."""
    return int((risk * 1000).to_integral_value(ROUND_CEILING))


def _risk_inputs(tool: Tool) -> RiskInputs:
    capabilities = tool.manifest.capabilities
    return RiskInputs(
        data_sensitivity=tool.manifest.risk.data_sensitivity,
        code_trust=CODE_TRUST[tool.origin],
        network=capabilities.network,
        filesystem_write=capabilities.filesystem_write,
        external_apis=capabilities.external_apis,
    )
