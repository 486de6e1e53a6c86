"""The questions about a call, in order, each answered by Cedar: docs/design.md.

Pure: facts, policies and floors in; a ruling with every question and answer out. The judge hears
calls that came, explanations and replays hear them again, policy tests hear calls that never were:
all by this one function. Trusted never to permit without a plain yes to every question, and never
to let a human's yes stand in for policy's: with approvers the very same questions are asked, only
"unattended?" becomes "attended by these?". Leaves `PolicyError` for facts that cannot be put to
policy exactly.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum

from daemon.calls.asked import Asked, Witness, named
from daemon.calls.standing import Asker, Standing
from daemon.world import Unavailable, secret_uid
from policy.context import Context
from policy.contexts import (
    CallFacts,
    approve_context,
    attended_context,
    call_context,
    secret_context,
)
from policy.entities import Entity
from policy.entity_rules import PERSON, likeness
from policy.pdp import PDP, Decision, Question, ReasonCode
from policy.risk import RiskInputs, Tier, score
from policy.statements import PolicyRef
from policy.tier import choose_tier
from policy.values import CedarValue, EntityUid

TIER_UNAVAILABLE = "TIER_UNAVAILABLE"


class Ruling(Enum):
    """The three answers to a call."""

    PERMIT = "permit"
    ASK = "ask"
    DENY = "deny"


@dataclass(frozen=True, slots=True)
class Case:
    """A call, with all that policy is told of it."""

    # Who asks and must be permitted: a device; an agent, then the device that answers for it.
    subjects: tuple[EntityUid, ...]
    tool: str
    arguments: Mapping[str, CedarValue] = field(repr=False)
    risk: RiskInputs
    floor: Tier
    # By the operator's clock.
    time: datetime
    maintenance: bool
    origin: str
    workspace: str = ""
    secrets: tuple[str, ...] = ()
    # What exists for this case alone.
    entities: tuple[Entity, ...] = ()
    # For how many seconds people have been asked about it.
    waited: int = 0
    # SHA-256 of the canonical arguments, hex; empty where no lease is asked about.
    arguments_digest: str = ""

    def facts(self, tier: Tier) -> CallFacts:
        """As the questions have it."""
        return CallFacts(
            arguments=self.arguments,
            risk=score(self.risk),
            tier=tier,
            time=self.time,
            maintenance=self.maintenance,
            origin=self.origin,
            workspace=EntityUid("Workspace", self.workspace) if self.workspace else None,
            secrets=frozenset(secret_uid(name) for name in self.secrets),
        )


@dataclass(frozen=True, slots=True)
class Approvers:
    """Those whose yes a call has, and every group that one of them is in."""

    devices: frozenset[EntityUid]
    groups: frozenset[EntityUid]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a hearing."""

    ruling: Ruling
    code: str
    message: str
    fix: str
    policies: tuple[PolicyRef, ...]
    asked: tuple[Asked, ...]
    # None where it was denied before there was one, or where there is none.
    tier: Tier | None = None
    # The lease by which it is permitted, if it is by one.
    lease: str = ""
    # Those that were put to policy.
    leases: tuple[Standing, ...] = ()


def hear(
    pdp: PDP,
    case: Case,
    unavailable: Mapping[Tier, Unavailable],
    approvers: Approvers | None = None,
    witness: Witness | None = None,
    leases: Sequence[Standing] = (),
) -> Outcome:
    """The outcome for a call; with approvers, of whether their approval is enough by now.

    Where nobody's word is there, and policy will not have it unattended, each of the leases is put
    to policy as the standing yes that it is.
    """
    hearing = _Hearing(pdp, case, case.facts(case.floor), witness)
    try:
        tier = _examine(hearing, unavailable)
        ruling, code, decision = _conclude(hearing, approvers)
        put = tuple(leases) if ruling is Ruling.ASK and approvers is None else ()
        for number, lease in enumerate(put, 1):
            if (leased := _stands(hearing, lease)) is not None:
                said = f"lease {lease.lease_id} permits it"
                asked, id_ = tuple(hearing.asked), lease.lease_id
                by = Ruling.PERMIT, "LEASED", said, "", leased.reasons
                return Outcome(*by, asked, tier, id_, put[:number])
    except _DeniedError as denied:
        asked = tuple(hearing.asked)
        return Outcome(Ruling.DENY, denied.code, denied.message, denied.fix, denied.policies, asked)
    message = "policy permits it" if ruling is Ruling.PERMIT else "policy wants a human's yes"
    asked = tuple(hearing.asked)
    return Outcome(ruling, code, message, "", decision.reasons, asked, tier, leases=put)


def may_answer(
    pdp: PDP, case: Case, tier: Tier, approver: EntityUid, witness: Witness | None = None
) -> Decision:
    """Whether this person's yes to this call counts."""
    *agent, device = case.subjects
    context = approve_context(case.facts(tier), case.waited, device, *agent)
    tool = EntityUid("Tool", case.tool)
    question = Question(approver, "approve", tool, context, case.entities)
    decision = pdp.decide(question)
    if witness is not None:
        witness(question, decision)
    return decision


@dataclass(slots=True)
class _Hearing:
    """What has been asked so far."""

    pdp: PDP
    case: Case
    facts: CallFacts
    witness: Witness | None
    asked: list[Asked] = field(default_factory=list)
    # Of the call itself. The same for most questions, which read it once.
    context: Context = field(init=False)

    def __post_init__(self) -> None:
        self.context = call_context(self.facts)

    def settle(self, tier: Tier) -> None:
        """From now on the questions are about this tier."""
        if tier is not self.facts.tier:
            self.facts = replace(self.facts, tier=tier)
            self.context = call_context(self.facts)

    @property
    def tool(self) -> EntityUid:
        return EntityUid("Tool", self.case.tool)

    def ask(self, action: str, resource: EntityUid, context: Context) -> Decision:
        """Policy's answer; for an agent both its own and its device's, the first no if any."""
        reasons: tuple[PolicyRef, ...] = ()
        for subject in self.case.subjects:
            question = Question(subject, action, resource, context, self.case.entities)
            decision = self.pdp.decide(question)
            self.note(question, decision)
            if not decision.allowed:
                return decision
            found = decision.reasons
            reasons = tuple(dict.fromkeys(reasons + found)) if reasons else found
        return decision if reasons == decision.reasons else replace(decision, reasons=reasons)

    def attended(self, approvers: Approvers) -> Decision:
        """Whether the yes of these is enough."""
        # Spellings that look alike are refused where they are made; older ones count once, too.
        names = sorted(map(self._person, approvers.devices), reverse=True)
        people = frozenset({likeness(name): name for name in names}.values())
        context = attended_context(self.facts, approvers.devices, approvers.groups, people)
        return self.ask("call_attended", self.tool, context)

    def _person(self, device: EntityUid) -> str:
        """Whose device it is, as the operator has tagged it; else it is nobody else's."""
        return self.pdp.entities.tags(device).get(PERSON, device.id)

    def note(self, question: Question, decision: Decision) -> None:
        """Keeps a question with its answer."""
        self.asked.append(Asked.of(question, decision))
        if self.witness is not None:
            self.witness(question, decision)

    def about(self, what: str) -> str:
        """What the last question was about, saying so if it was the agent's device's."""
        own = str(self.case.subjects[0])
        return what if self.asked[-1].principal == own else f"{what} to the agent's device"


class _DeniedError(Exception):
    """Ends a hearing; never leaves this module."""

    def __init__(self, code: str, message: str, fix: str, policies: Sequence[PolicyRef]) -> None:
        self.code, self.message, self.fix = code, message, fix
        self.policies = tuple(policies)


def _examine(hearing: _Hearing, unavailable: Mapping[Tier, Unavailable]) -> Tier:
    """May it be called at all; in which tier; with its secrets."""
    case, tool = hearing.case, hearing.tool
    _require(hearing.ask("call", tool, hearing.context), hearing.about("this call"))
    tier = choose_tier(case.floor, lambda action: hearing.ask(action, tool, hearing.context)).tier
    if (missing := unavailable.get(tier)) is not None:
        message = f"the call needs the {tier.label} tier: {missing.reason}"
        raise _DeniedError(TIER_UNAVAILABLE, message, missing.fix, ())
    hearing.settle(tier)
    for name in case.secrets:
        context = secret_context(hearing.facts, tool)
        decision = hearing.ask("use_secret", secret_uid(name), context)
        _require(decision, hearing.about(f"the use of {name}"))
    return tier


def _conclude(hearing: _Hearing, approvers: Approvers | None) -> tuple[Ruling, str, Decision]:
    """With nobody's word, or with these people's."""
    if approvers is None:
        decision = hearing.ask("call_unattended", hearing.tool, hearing.context)
        code = "PERMITTED"
    else:
        decision = hearing.attended(approvers)
        code = "APPROVED"
    if decision.allowed:
        return Ruling.PERMIT, code, decision
    return Ruling.ASK, "APPROVAL_REQUIRED", decision


def _stands(hearing: _Hearing, lease: Standing) -> Decision | None:
    """Whether a lease stands in for asking now; the permit by which it does."""
    case = hearing.case
    asker = Asker(hearing.pdp, case.subjects, hearing.tool, hearing.note)
    leased = asker.permits(hearing.facts, case.arguments_digest, lease)
    if leased is None:
        return None
    # One who may no longer give it takes it along: without that signature it is another lease.
    for signer in lease.signers:
        if not asker.may_grant(hearing.facts, signer, lease.facts).allowed:
            return None
    signers = Approvers(frozenset(lease.signers), lease.signer_groups)
    return leased if hearing.attended(signers).allowed else None


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
        errors = "; ".join(named(decision.errors))
        message = f"policy could not say yes to {what}: {errors or code}"
    fix = "`stockade policy show` prints the policies in force"
    raise _DeniedError(code, message, fix, decision.reasons)
