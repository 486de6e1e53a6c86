"""The policy decision point: one question in, one decision out, from an immutable snapshot.

Trusted with `allowed`: True only if Cedar says Allow, no policy was in error, and everything the
question names exists. A permit with an open scope would otherwise match a stranger, and Cedar
skips a forbid that is in error. Whatever a question holds, `decide` raises nothing: what cannot be
asked is denied, with a code. The engine sees only the policies whose scope fits the question, which
changes no answer (policy/index.py), and is not asked the very same thing twice
(policy/answers.py). Leaves `SnapshotError`, when built.
"""

import enum
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import cedarpy
import orjson

from policy.answers import Answers
from policy.bounded import Bounded
from policy.bundle import Bundle, BundleDigest
from policy.context import Context
from policy.engine import EngineError, ask, name_at, renamed
from policy.entities import Entity
from policy.entity_store import Entities, EntityStore
from policy.errors import EntityError, SnapshotError
from policy.joining import Found, joined
from policy.lease import Permit
from policy.pace import Pause
from policy.scope import keys_of, keys_of_action
from policy.slices import PolicySlice
from policy.statements import PolicyRef
from policy.values import CedarValue, EntityUid

# An overflow's text quotes the numbers, which may be arguments: they reach receipts and logs.
_VALUE = re.compile(r"`-?\d+`")
_MAX_NESTING = 32  # of a context; the arguments' own depth is capped far below

# Slices that were found for questions, weighed by the policies in them: some 10 MB at most.
MAX_FOUND = 131_072
# Of those, so many are found anew before another set comes into force: at a millisecond each.
MAX_FORESEEN = 128

_Asked = tuple[EntityUid, str, EntityUid]


class ReasonCode(enum.StrEnum):
    """Why a decision is what it is."""

    PERMITTED = "PERMITTED"
    FORBIDDEN = "FORBIDDEN"
    """A forbid matched."""
    NOT_PERMITTED = "NOT_PERMITTED"
    """Nothing permits it."""
    EVALUATION_ERROR = "EVALUATION_ERROR"
    """A policy could not be evaluated, so what it would have said is unknown."""
    BAD_REQUEST = "BAD_REQUEST"
    """The question does not fit the schema."""
    UNKNOWN_PRINCIPAL = "UNKNOWN_PRINCIPAL"
    UNKNOWN_RESOURCE = "UNKNOWN_RESOURCE"
    UNKNOWN_ENTITY = "UNKNOWN_ENTITY"
    """Something the context refers to does not exist."""
    ENGINE_ERROR = "ENGINE_ERROR"


@dataclass(frozen=True, slots=True)
class Question:
    """Whether `principal` may do `action` to `resource`, under these circumstances.

    `entities` are those that exist only for this question: the call watched, the host dialled.
    """

    principal: EntityUid
    action: str
    resource: EntityUid
    context: Mapping[str, CedarValue]
    entities: tuple[Entity, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer, why, and by which policy set."""

    allowed: bool
    code: ReasonCode
    bundle_digest: BundleDigest
    reasons: tuple[PolicyRef, ...] = ()
    """The policies that determined it, in the order of the set."""
    errors: tuple[str, ...] = ()


_Answer = tuple[Found, Decision]


@dataclass(frozen=True, slots=True)
class PDP:
    """A policy set and the entities it is asked about. Replaced as a whole, never changed."""

    bundle: Bundle
    entities: EntityStore = field(repr=False)
    _found: Bounded[_Asked, PolicySlice] = field(init=False, compare=False, repr=False)
    _answers: Answers[_Answer] = field(init=False, compare=False, repr=False)
    # Of this one among others, to contexts that are asked about at several.
    _mark: object = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_found", Bounded(MAX_FOUND, _weight))
        object.__setattr__(self, "_answers", Answers())
        object.__setattr__(self, "_mark", object())
        if self.bundle.schema != self.entities.schema:
            raise SnapshotError(
                "SCHEMA_MISMATCH",
                "the policy set and the entities were checked against different schemas",
                "build both from the schema of the tools now running",
            )

    def decide(self, question: Question) -> Decision:
        """The decision. Raises nothing, whatever the question holds."""
        try:
            entities: Entities = self.entities
            if question.entities:
                entities = self.entities.with_added(question.entities)
            return self._decide(question, entities)
        except (KeyboardInterrupt, SystemExit):
            raise
        except EntityError as error:
            return self._deny(ReasonCode.BAD_REQUEST, str(error))
        except EngineError as error:
            return self._deny(ReasonCode.ENGINE_ERROR, str(error))
        except (TypeError, ValueError, AttributeError, RecursionError) as error:
            return self._deny(ReasonCode.BAD_REQUEST, f"{type(error).__name__} in the question")
        # A panic of the engine is a BaseException of its own, which no `except Exception` catches.
        except BaseException as error:  # noqa: BLE001 - fail closed, see above
            return self._deny(ReasonCode.ENGINE_ERROR, type(error).__name__)

    def decide_with(self, question: Question, permit: Permit) -> Decision:
        """The decision with one permit more than the set has; it cannot win over a forbid."""
        try:
            return self._decide_with(question, permit)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # noqa: BLE001 - fail closed, as in `decide`
            return self._deny(ReasonCode.ENGINE_ERROR, type(error).__name__)

    def foresee(self, before: "PDP", pause: Pause) -> None:
        """Finds and compiles what `before` was asked about last: the first calls need not wait."""
        for asked in before._found.recent(MAX_FORESEEN):  # noqa: SLF001 - another of its own kind
            principal, action, resource = asked
            if principal in self.entities and resource in self.entities:
                self._slice(Question(principal, action, resource, {}), self.entities).compile()
                pause()

    def retire(self, pause: Pause) -> None:
        """Lets go of what it has found and compiled; still right for whoever asks it yet."""
        self._answers.forget(pause)
        self._found.forget(pause)
        self.bundle.slices.forget(pause)

    def _decide(self, question: Question, entities: Entities) -> Decision:
        principal, resource, context = question.principal, question.resource, question.context
        if refused := self._unknown(question, entities):
            return refused
        policies = self._slice(question, entities)
        if not isinstance(context, Context):
            # Not by our builders: only the engine can tell what it says, and whether it fits.
            text = json.dumps(dict(context), allow_nan=False, ensure_ascii=False)
            schema = self.bundle.schema.handle
            return self._decision(self._ask(question, text, policies, entities, schema))
        why = self.bundle.requests.misfit(principal, question.action, resource, context)
        if why is not None:
            return self._deny(ReasonCode.BAD_REQUEST, why)
        if not policies.numbers:
            return Decision(False, ReasonCode.NOT_PERMITTED, self.bundle.digest)
        if entities is not self.entities:
            text = orjson.dumps(context.only(policies.context, policies.clock)).decode()
            return self._decision(self._ask(question, text, policies, entities, None))
        return self._answer(question, context, policies)[1]

    def _answer(self, question: Question, context: Context, policies: PolicySlice) -> _Answer:
        """The engine's, or what it said to the very same before."""
        if policies.parts:
            told, rest = policies.parts
            of_told = self._answer_to(question, context, told)
            return self._of_both(of_told, self._answer(question, context, rest))
        if not policies.ignores_action:
            return self._answer_to(question, context, policies)
        # What these say of one action they say of the next about the same call, too.
        key = (self._mark, question.principal, question.resource, policies.numbers)
        answer: _Answer | None = context.answers.get(key)
        if answer is None:
            answer = context.answers[key] = self._answer_to(question, context, policies)
        return answer

    def _answer_to(self, question: Question, context: Context, policies: PolicySlice) -> _Answer:
        put = None
        if policies.discernment is not None:
            principal, action, resource = question.principal, question.action, question.resource
            put = policies.discernment.put(principal, action, resource, context)
        if put is not None and (answer := self._answers.get(put)) is not None:
            return answer
        text = orjson.dumps(context.only(policies.context, policies.clock)).decode()
        found = self._ask(question, text, policies, self.entities, None)
        answer = found, self._decision(found)
        if put is not None and not found.errors:
            self._answers.keep(put, answer)
        return answer

    def _of_both(self, one: _Answer, other: _Answer) -> _Answer:
        found = joined(one[0], other[0])
        if found is one[0]:
            return one
        return other if found is other[0] else (found, self._decision(found))

    def _decide_with(self, question: Question, permit: Permit) -> Decision:
        principal, resource, context = question.principal, question.resource, question.context
        if not isinstance(context, Context) or question.entities:
            return self._deny(ReasonCode.BAD_REQUEST, "not a question that a permit is added for")
        if refused := self._unknown(question, self.entities):
            return refused
        why = self.bundle.requests.misfit(principal, question.action, resource, context)
        if why is not None:
            return self._deny(ReasonCode.BAD_REQUEST, why)
        policies = self._slice(question, self.entities)
        # What is added comes after all the others.
        added, handle = name_at(len(policies.numbers)), permit.handle
        if policies.numbers:
            handle = policies.handle.with_added_str(permit.text)
        text, entities = orjson.dumps(context.only(None)).decode(), self.entities.handle
        result = ask(principal, question.action, resource, text, handle, entities, None)
        if result.errors:
            # Whichever policy it is: what it would have said is unknown.
            return self._deny(ReasonCode.EVALUATION_ERROR, "a policy could not be evaluated")
        numbers = sorted(policies.number(name) for name in result.reasons if name != added)
        reasons = tuple(self.bundle.policies[number] for number in numbers)
        if added in result.reasons:
            reasons += (permit.ref,)
        code = _code(result.decision, bool(reasons), has_errors=False)
        return Decision(code is ReasonCode.PERMITTED, code, self.bundle.digest, reasons)

    def _unknown(self, question: Question, known: Entities) -> Decision | None:
        if question.principal not in known:
            return self._deny(ReasonCode.UNKNOWN_PRINCIPAL, f"no {question.principal}")
        if question.resource not in known:
            return self._deny(ReasonCode.UNKNOWN_RESOURCE, f"no {question.resource}")
        for uid in mentioned(question.context):
            if uid not in known:
                return self._deny(ReasonCode.UNKNOWN_ENTITY, f"no {uid}")
        return None

    def _slice(self, question: Question, entities: Entities) -> PolicySlice:
        """The policies that can matter to this question."""
        if entities is not self.entities:
            # The question brought entities of its own: what they are in holds for it alone.
            return self._find(question, entities)
        asked = (question.principal, question.action, question.resource)
        found = self._found.get(asked)
        if found is None:
            found = self._find(question, entities)
            self._found.put(asked, found)
        return found

    def _find(self, question: Question, entities: Entities) -> PolicySlice:
        action = EntityUid("Action", question.action)
        return self.bundle.slices.find(
            keys_of(question.principal, entities.ancestors(question.principal)),
            keys_of_action(action, self.bundle.schema.groups.get(action, ())),
            keys_of(question.resource, entities.ancestors(question.resource)),
        )

    def _ask(
        self,
        question: Question,
        context: str,
        policies: PolicySlice,
        entities: Entities,
        schema: cedarpy.Schema | None,
    ) -> Found:
        principal, resource = question.principal, question.resource
        handle = self.entities.handle
        if entities is not self.entities:
            action = EntityUid("Action", question.action)
            roots = (principal, action, resource, *mentioned(question.context))
            handle = entities.handle_for((*roots, *self.bundle.slices.uids(policies)))
        result = ask(principal, question.action, resource, context, policies.handle, handle, schema)
        errors: tuple[str, ...] = ()
        if result.errors:
            errors = tuple(sorted(self._with_id(text, policies) for text in result.errors))
        # In the order of the set, whose files are in the order of their names.
        numbers = tuple(sorted([policies.number(name) for name in result.reasons]))
        return Found(result.decision, numbers, errors)

    def _decision(self, found: Found) -> Decision:
        reasons = tuple([self.bundle.policies[number] for number in found.numbers])
        code = _code(found.decision, bool(reasons), bool(found.errors))
        return Decision(
            code is ReasonCode.PERMITTED, code, self.bundle.digest, reasons, found.errors
        )

    def _with_id(self, text: str, policies: PolicySlice) -> str:
        """The engine's text with our id of the policy for its own, and no argument's value."""

        def ours(name: str) -> str:
            return self.bundle.policies[policies.number(name)].id

        return renamed(_VALUE.sub("`...`", text), ours)

    def _deny(self, code: ReasonCode, error: str) -> Decision:
        return Decision(False, code, self.bundle.digest, errors=(error,))


def _code(decision: cedarpy.Decision, has_reasons: bool, has_errors: bool) -> ReasonCode:
    if decision is cedarpy.Decision.Allow:
        return ReasonCode.EVALUATION_ERROR if has_errors else ReasonCode.PERMITTED
    if decision is not cedarpy.Decision.Deny:
        return ReasonCode.BAD_REQUEST
    if has_reasons:
        return ReasonCode.FORBIDDEN
    return ReasonCode.EVALUATION_ERROR if has_errors else ReasonCode.NOT_PERMITTED


def _weight(found: PolicySlice) -> int:
    return len(found.numbers) + 1


def mentioned(context: Mapping[str, CedarValue]) -> Iterable[EntityUid]:
    """The entities a context refers to; none of its arguments, whatever those look like."""
    if isinstance(context, Context):
        return context.reading.uids
    # Arguments are strings, numbers and records by their type: no entity can be in them.
    return tuple(_references([value for name, value in context.items() if name != "arguments"]))


def _references(value: CedarValue, depth: int = 0) -> Iterator[EntityUid]:
    """The entities that a value refers to."""
    if depth > _MAX_NESTING:
        raise ValueError("nested too deeply")
    if isinstance(value, Mapping):
        # Where the schema expects an entity, Cedar takes it without the escape, too.
        entity = value.get("__entity", value)
        if isinstance(entity, Mapping) and entity.keys() == {"type", "id"}:
            yield EntityUid(entity["type"], entity["id"])
            return
        value = value.values()
    elif not isinstance(value, list | tuple):
        return
    for item in value:
        if not isinstance(item, str | int):
            yield from _references(item, depth + 1)
