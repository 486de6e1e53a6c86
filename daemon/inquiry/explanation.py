"""Why a call was decided as it was, and how it would be today. Changes nothing.

A past decision is explained from what was recorded: its receipts, and the policies and entities
behind the digests in them, put to the same questions again. Where that gives other answers than the
receipt has, the receipt stands and the explanation says so. Trusted never to pass today's policy
for that of the time. Raises `NotFound`.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from daemon.calls.asked import Asked, named
from daemon.calls.hearing import TIER_UNAVAILABLE, Approvers, Case, Ruling, hear
from daemon.calls.standing import Standing
from daemon.inquiry import past
from daemon.inquiry.archive import Gone, Then
from daemon.inquiry.past import Terms, Told
from daemon.store.calls import CallRow
from daemon.world import Unavailable
from policy.arguments import translate
from policy.pdp import PDP, Decision, Question, mentioned
from policy.risk import RiskInputs, Tier, score, to_text
from policy.snapshot import KeptEntity
from policy.statements import PolicyRef
from policy.usage import texts_of
from policy.values import CedarValue, EntityUid

_WORDS = {Ruling.PERMIT: "permitted", Ruling.ASK: "asked about", Ruling.DENY: "denied"}
_PLACE = re.compile(r"(.*) \((.*):([0-9]+)\)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Answered:
    """One question, its answer, and what the answer was made of where that is known."""

    asked: Asked
    context: Mapping[str, CedarValue] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Explained:
    """One ruling, with all that led to it."""

    ruling: Ruling
    code: str
    message: str
    policy_digest: str
    questions: tuple[Answered, ...]
    # Of the entities that the questions are about, and of those they are in.
    entities: tuple[KeptEntity, ...] = field(default=(), repr=False)
    entities_digest: str = ""
    fix: str = ""
    risk: RiskInputs | None = None
    floor: Tier | None = None
    tier: Tier | None = None
    time: datetime | None = None
    # The receipt that it is from: kind and number; empty and 0 for what never was.
    kind: str = ""
    sequence: int = 0
    # Text of the determining policies, by id.
    texts: Mapping[str, str] = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()

    @property
    def tier_reason(self) -> str:
        """Why this tier, in words."""
        if self.floor is None or self.risk is None:
            return ""
        begin = f"a risk of {to_text(score(self.risk))} asks for at least {self.floor.label}"
        steps = []
        for one in self.questions:
            weak = one.asked.action.removeprefix("run_in_")
            if weak != one.asked.action:
                by = ", ".join(ref.id for ref in one.asked.policies)
                because = f" (policy {by})" if by else ""
                word = "permits" if one.asked.allowed else "does not permit"
                steps.append(f"policy {word} {weak}{because}")
        return "; ".join([begin, *steps])


class Transcript:
    """What a hearing's witness saw."""

    def __init__(self) -> None:
        self.answered: list[Answered] = []
        self.questions: list[Question] = []

    def __call__(self, question: Question, decision: Decision) -> None:
        """Notes a question and its answer."""
        self.questions.append(question)
        self.answered.append(Answered(Asked.of(question, decision), question.context))

    def concerned(self, entities: Mapping[EntityUid, KeptEntity]) -> tuple[KeptEntity, ...]:
        """The entities that the questions name, and all that these are in, each once."""
        return tuple(_concerned(self.questions, entities))

    def texts(self, pdp: PDP) -> Mapping[str, str]:
        """The texts of the policies that determined the answers, by id."""
        return texts_of(pdp.bundle, (ref for one in self.answered for ref in one.asked.policies))


def explain_past(row: CallRow, told: Told, then: Then | Gone, terms: Terms) -> Explained:
    """A ruling that was recorded; `terms` are of the leases that were put to policy for it."""
    recorded = tuple(Answered(asked) for asked in map(recorded_question, told.questions))
    found = Explained(
        ruling=told.ruling,
        code=str(told.body.get("reason", "")),
        message=str(told.body.get("message", "")),
        policy_digest=told.policy_digest,
        questions=recorded,
        entities_digest=str(told.heard.get("entities", "")),
        tier=told.tier,
        kind=told.kind,
        sequence=told.sequence,
    )
    if not recorded:
        return replace(found, notes=(unasked(found.code),))
    if isinstance(then, Gone):
        return replace(found, notes=(f"{then.reason}: the answers are those of the receipt",))
    schema = then.tools.get(row.tool)
    translation = None if schema is None else translate(schema)
    case = past.case_of(row, told, translation)
    leases = None
    if case is not None and translation is not None:
        leases = past.leases_of(told, case, terms, translation, then.pdp)
    if case is None or leases is None:
        why = past.missing(row) or "the receipt does not say all that policy was told"
        note = f"{why}: the receipt's answers stand"
        return replace(found, notes=(note,))
    transcript = Transcript()
    approvers = past.approvers_of(told, then.pdp.entities)
    standing = [lease for _, lease in leases]
    hear(then.pdp, case, _unavailable(told), approvers, transcript, standing)
    found = replace(found, risk=case.risk, floor=case.floor, time=case.time)
    if _as_told(transcript.answered) != _as_told(recorded):
        note = "asked again, this version answers otherwise: the receipt's answers stand"
        return replace(found, notes=(note,))
    return replace(
        found,
        questions=tuple(transcript.answered),
        entities=transcript.concerned(then.entities),
        texts={**transcript.texts(then.pdp), **_permits(standing)},
    )


def explain_now(
    pdp: PDP,
    case: Case,
    unavailable: Mapping[Tier, Unavailable],
    approvers: Approvers | None,
    leases: Sequence[Standing] = (),
    *,
    policy_digest: str,
    entities_digest: str,
    entities: Mapping[EntityUid, KeptEntity],
) -> Explained:
    """A ruling that is made for the explanation, under a state that is in force or might be."""
    transcript = Transcript()
    outcome = hear(pdp, case, unavailable, approvers, transcript, leases)
    return Explained(
        ruling=outcome.ruling,
        code=outcome.code,
        message=outcome.message,
        fix=outcome.fix,
        policy_digest=policy_digest,
        questions=tuple(transcript.answered),
        entities=transcript.concerned(entities),
        entities_digest=entities_digest,
        risk=case.risk,
        floor=case.floor,
        tier=outcome.tier,
        time=case.time,
        texts={**transcript.texts(pdp), **_permits(leases)},
    )


def refused_unasked(code: str, message: str, policy_digest: str) -> Explained:
    """A call that is denied before anything of it comes to policy."""
    return Explained(Ruling.DENY, code, message, policy_digest, (), notes=(unasked(code),))


def unasked(code: str) -> str:
    """Why a ruling has no questions."""
    return f"policy was not asked: with {code} a call ends before that"


def differences(before: Explained, now: Explained) -> tuple[str, ...]:
    """How one ruling differs from another, in words; empty where it does not."""
    found = []
    if before.ruling is not now.ruling:
        then = f"{_WORDS[before.ruling]} ({before.code}) then"
        found.append(f"{then}, {_WORDS[now.ruling]} ({now.code}) now")
    elif before.code != now.code:
        found.append(f"{before.code} then, {now.code} now")
    if before.tier is not now.tier and before.tier and now.tier:
        found.append(f"tier {before.tier.label} then, {now.tier.label} now")
    if not found and _deciding(before) != _deciding(now):
        found.append(f"by {_deciding(before)} then, by {_deciding(now)} now")
    return tuple(found)


def recorded_question(recorded: Mapping[str, Any]) -> Asked:
    """A question and its answer, from a receipt."""
    return Asked(
        action=str(recorded.get("action", "")),
        principal=str(recorded.get("principal", "")),
        resource=str(recorded.get("resource", "")),
        allowed=recorded.get("allowed") is True,
        code=str(recorded.get("code", "")),
        policies=tuple(_ref(str(text)) for text in recorded.get("policies", ())),
        errors=tuple(map(str, recorded.get("errors", ()))),
    )


def _as_told(answered: Iterable[Answered]) -> list[Asked]:
    """As a receipt has them, which does not name thousands of policies."""
    return [recorded_question(one.asked.to_json()) for one in answered]


def _permits(leases: Iterable[Standing]) -> dict[str, str]:
    """The texts of leases, by the ids that they have as policies."""
    return {
        permit.ref.id: "\n".join(one.text for one in lease.permits)
        for lease in leases
        for permit in lease.permits
    }


def _deciding(one: Explained) -> str:
    """The policies behind the last answer: of it all the others depend."""
    last = one.questions[-1].asked.policies if one.questions else ()
    return ", ".join(ref.id for ref in named(last)) or "no policy"


def _ref(text: str) -> PolicyRef:
    found = _PLACE.fullmatch(text)
    return PolicyRef(found[1], found[2], int(found[3])) if found else PolicyRef(text, "", 0)


def _unavailable(told: Told) -> Mapping[Tier, Unavailable]:
    """So that a hearing that ended for want of a tier ends there again."""
    if told.body.get("reason") != TIER_UNAVAILABLE:
        return {}
    return dict.fromkeys(Tier, Unavailable(str(told.body.get("message", "")), ""))


def _concerned(
    questions: Iterable[Question], entities: Mapping[EntityUid, KeptEntity]
) -> Iterator[KeptEntity]:
    todo = [uid for question in questions for uid in _named(question)]
    seen: set[EntityUid] = set()
    while todo:
        uid = todo.pop(0)
        if uid in seen:
            continue
        seen.add(uid)
        if (entity := entities.get(uid)) is not None:
            yield entity
            todo += entity.parents


def _named(question: Question) -> Iterator[EntityUid]:
    yield question.principal
    yield question.resource
    yield from sorted(mentioned(question.context))
