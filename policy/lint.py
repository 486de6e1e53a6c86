"""What a valid policy set may not mean: policies without effect, names of nothing, errors to come.

Trusted with warnings, never with a decision: a set with warnings can be applied. Says only what it
can show; what it knows of the entities is what it is given. Pure; raises nothing for a bundle.
"""

import difflib
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

from policy.bundle import Bundle
from policy.covering import Ancestors, Wide, covers
from policy.entities import PROVENANCES
from policy.errors import Problem, Severity
from policy.fallible import why_fallible
from policy.pace import Pause, no_pause, paced
from policy.reachability import always_applies, never_apply
from policy.reading import Reading, read_policy
from policy.scope import ANY
from policy.statements import PolicyRef
from policy.values import EntityUid

ANNOTATIONS = frozenset({"id", "note", "description"})
# Of these there are as many as are named; only one that is nearly another's name is suspect.
MADE_BY_NAMING = {
    "Group": ("owners", "operators", "approvers", "callers", "auditors"),
    "Toolset": PROVENANCES,
}
MAX_BROAD = 256
MAX_WIDE = 256
"""Of each effect: whether a policy always applies takes the engine, which checks it as a set."""

_CHUNK = 256


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the entities: some, the types of which these are all, and who is in whom."""

    uids: Collection[EntityUid] = frozenset()
    types: frozenset[str] = frozenset()
    ancestors: Ancestors = field(default=lambda _: ())


@dataclass(frozen=True, slots=True)
class _Policy:
    number: int
    ref: PolicyRef
    text: str
    reading: Reading

    @property
    def name(self) -> str:
        """It, and where it is."""
        return f"{self.ref.id} ({self.ref.file}:{self.ref.line})"

    def warning(self, code: str, message: str, fix: str) -> Problem:
        return Problem(self.ref.file, self.ref.line, code, message, fix, Severity.WARNING)


def lint(bundle: Bundle, known: Known, pause: Pause = no_pause) -> tuple[Problem, ...]:
    """The warnings, in the order of the set."""
    policies = [
        _Policy(number, ref, text, read_policy(text))
        for number, (ref, text) in enumerate(
            paced(zip(bundle.policies, bundle.texts, strict=True), pause)
        )
    ]
    found = [
        *_unreachable(policies, bundle),
        *_shadowed(policies, bundle, known, pause),
        *_broad(policies),
    ]
    for policy in paced(policies, pause):
        found += (*_unknown_entities(policy, known), *_fallible(policy), *_annotations(policy))
    return tuple(sorted(found, key=lambda one: (one.file, one.line)))


def _unreachable(policies: list[_Policy], bundle: Bundle) -> Iterator[Problem]:
    for start in range(0, len(policies), _CHUNK):
        some = policies[start : start + _CHUNK]
        for place in sorted(never_apply([policy.text for policy in some], bundle.schema)):
            yield some[place].warning(
                "UNREACHABLE_POLICY",
                "its conditions are false whatever is asked, so it never applies",
                "compare its types and attributes with the schema, or remove it",
            )


def _shadowed(
    policies: list[_Policy], bundle: Bundle, known: Known, pause: Pause
) -> Iterator[Problem]:
    """Permits whose every question a policy without conditions answers, too: with no, or yes."""

    def ancestors(uid: EntityUid) -> Collection[EntityUid]:
        return (*known.ancestors(uid), *bundle.schema.groups.get(uid, ()))

    forbids = _unconditional(policies, "forbid", bundle, pause)
    permits = _unconditional(policies, "permit", bundle, pause)
    forbidding = Wide([forbid.reading.scope for forbid in forbids], ancestors)
    permitting = Wide([permit.reading.scope for permit in permits], ancestors)
    for policy in paced(policies, pause):
        if policy.reading.effect != "permit":
            continue
        scope = policy.reading.scope
        if found := sorted(forbidding.covering(scope)):
            yield policy.warning(
                "SHADOWED_PERMIT",
                f"whatever it permits, {forbids[found[0]].name} forbids, so it permits nothing",
                "narrow the forbid, or remove the permit",
            )
            continue
        if other := _as_wide(policy, [permits[at] for at in permitting.covering(scope)], ancestors):
            yield policy.warning(
                "REDUNDANT_PERMIT",
                f"whatever it permits, {other.name} permits without conditions",
                "narrow the other one, or remove this one",
            )


def _as_wide(policy: _Policy, covering: list[_Policy], ancestors: Ancestors) -> _Policy | None:
    """One of those that cover it without which it could be done; of equals the first is needed."""
    for other in sorted(covering, key=lambda one: one.number):
        equal = policy in covering and covers(policy.reading.scope, other.reading.scope, ancestors)
        if not equal or other.number < policy.number:
            return other
    return None


def _unconditional(
    policies: list[_Policy], effect: str, bundle: Bundle, pause: Pause
) -> list[_Policy]:
    """The first of this effect, less those whose conditions may not hold."""
    candidates = [policy for policy in policies if policy.reading.effect == effect]
    return [
        policy
        for policy in paced(candidates[:MAX_WIDE], pause)
        if always_applies(policy.text, bundle.schema)
    ]


def _broad(policies: list[_Policy]) -> Iterator[Problem]:
    """The index goes by scope: what has none is looked at for every question."""
    broad = [
        policy
        for policy in policies
        if policy.reading.scope.principal == ANY and policy.reading.scope.resource == ANY
    ]
    if len(broad) > MAX_BROAD:
        yield broad[0].warning(
            "BROAD_POLICIES",
            f"{len(broad)} policies name neither principal nor resource in their scope, so each"
            " question of their actions is put to all of them",
            "move `principal ==` and `resource in` from the conditions into the scope",
        )


def _unknown_entities(policy: _Policy, known: Known) -> Iterator[Problem]:
    for uid in sorted(policy.reading.uids):
        if uid in known.uids:
            continue
        near = _near(uid, known)
        if uid.type in known.types or (uid.type in MADE_BY_NAMING and near):
            meant = f"did you mean {near}?" if near else "it would match once there is one"
            yield policy.warning("NO_SUCH_ENTITY", f"there is no {uid}", meant)


def _near(uid: EntityUid, known: Known) -> EntityUid | None:
    """Something that there is, and is called nearly so."""
    names = {one.id for one in known.uids if one.type == uid.type}
    usual = MADE_BY_NAMING.get(uid.type, ())
    if uid.id in usual:
        return None
    names |= set(usual)
    found = difflib.get_close_matches(uid.id, sorted(names), n=1, cutoff=0.75)
    return EntityUid(uid.type, found[0]) if found else None


def _fallible(policy: _Policy) -> Iterator[Problem]:
    why = why_fallible(policy.text)
    if why is not None:
        code = "FORBID_CAN_ERROR" if policy.reading.effect == "forbid" else "PERMIT_CAN_ERROR"
        yield policy.warning(
            code,
            f"{why}: a policy in error is a no to every question that it applies to",
            "ask with `has` first, or compare without arithmetic",
        )


def _annotations(policy: _Policy) -> Iterator[Problem]:
    for name in sorted(set(policy.reading.annotations) - ANNOTATIONS):
        yield policy.warning(
            "UNKNOWN_ANNOTATION",
            f"@{name} means nothing here",
            f"annotations are {', '.join(f'@{one}' for one in sorted(ANNOTATIONS))}",
        )
