"""Answers that are remembered: only to the very same question, only where all was sure."""

from dataclasses import replace
from datetime import timedelta

import cedarpy
import pytest

from policy import answers
from policy.contexts import call_context
from policy.discernment import Discernment
from policy.entities import DeviceEntity, HostEntity
from policy.entity_store import EntityStore
from policy.pdp import PDP, Decision, Question, ReasonCode
from tests.policy.test_pdp_context import CALLER, TOOL
from tests.policy.world import ask_call, context_for, entities, facts, pdp, uid

CALL = 'permit (principal, action == Action::"call", resource)'


def engine_asked(
    monkeypatch: pytest.MonkeyPatch, point: PDP, question: Question
) -> tuple[Decision, int]:
    """The decision, and how often the engine was asked for it."""
    count = 0
    real = cedarpy.is_authorized

    def spy(*given: object) -> object:
        nonlocal count
        count += 1
        return real(*given)  # type: ignore[arg-type] # whatever they are

    with monkeypatch.context() as patch:
        patch.setattr(cedarpy, "is_authorized", spy)
        return point.decide(question), count


def test_the_same_question_is_answered_the_same_without_the_engine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Decision and policies are those of the first time; what differs is asked about."""
    point = pdp("permit (principal, action, resource) when { !context.maintenance };")
    question = Question(CALLER, "call", TOOL, call_context(facts()))
    first = point.decide(question)
    assert first.allowed
    # A later call: the time is another one, which no policy looks at.
    later = call_context(replace(facts(), time=facts().time + timedelta(hours=3)))
    assert engine_asked(monkeypatch, point, replace(question, context=later)) == (first, 0)
    for other in (
        replace(question, resource=uid("Tool::publish")),
        replace(question, action="call_unattended"),
        replace(question, principal=uid("Device::dev-owners")),
    ):
        assert engine_asked(monkeypatch, point, other)[1] > 0


@pytest.mark.parametrize(
    ("condition", "changes"),
    [
        ('context.origin == "10.0.0.1"', {"origin": "10.0.0.2"}),
        ("!context.maintenance", {"maintenance": True}),
        ("!(context has workspace)", {"workspace": uid("Workspace::docs")}),
        ("context.secrets.isEmpty()", {"secrets": frozenset({uid("Secret::global/deploy_key")})}),
        ('context.clock.hour < 24 && context.time < datetime("2026-12-01")', {"later": 30}),
    ],
)
def test_what_a_policy_looks_at_is_another_question(
    condition: str, changes: dict[str, object]
) -> None:
    """A yes to one address, hour, workspace or switch is never the answer to another."""
    point = pdp(f"{CALL} when {{ {condition} }};")
    days = changes.pop("later", 0)
    now = replace(facts(), origin="10.0.0.1")
    then = replace(now, time=now.time + timedelta(days=int(str(days))), **changes)  # type: ignore[arg-type]
    for _ in range(2):
        for one, expected in ((now, True), (then, False)):
            question = Question(CALLER, "call", TOOL, call_context(one))
            assert point.decide(question).allowed is expected


LOOKS = (
    'context.arguments has read_file && context.arguments.read_file.path like "a*"',
    "context.clock.hour >= 10 && context.clock.hour < 18 || context.clock.weekday > 5",
    'context.time > datetime("2020-01-01") && context.time < datetime("2026-11-25T12:00:00Z")',
    '!["2026-12-24", "2026-12-25"].contains(context.clock.date)',
)


@pytest.mark.parametrize("condition", LOOKS)
def test_what_a_policy_cannot_tell_apart_is_asked_once(
    monkeypatch: pytest.MonkeyPatch, condition: str
) -> None:
    """Another path, another moment: if each comparison comes out the same, so does the answer."""
    point = pdp(f"{CALL} when {{ {condition} }};")
    asked, given = 0, set()
    for number in range(48):
        name = f"{'ab'[number % 2]}{number}.txt"
        moment = facts().time + timedelta(hours=5 * number)
        now = replace(facts(arguments={"path": name}), time=moment)
        question = Question(CALLER, "call", TOOL, call_context(now))
        decision, count = engine_asked(monkeypatch, point, question)
        assert decision == point.decide(replace(question, context=dict(question.context)))
        asked += count
        given.add(decision.allowed)
    # Once more at most for whether the form fits; hours, weekdays and dates count as themselves.
    assert asked <= 1 + 37
    assert given == {True, False} or "12-24" in condition


@pytest.mark.parametrize(
    "condition",
    [
        "context.arguments has read_file && context.arguments.read_file.path != principal.name",
        "context.clock.epoch < 9223372036854775807 - context.clock.hour",
        'context.time.offset(duration("1h")) > datetime("2020-01-01")',
        "(if principal is Device then context else context).maintenance == false",
    ],
)
def test_what_is_not_put_beside_a_constant_is_not_kept(condition: str) -> None:
    """No argument and no time of a call stays in memory for the sake of the next."""
    point = pdp(f"{CALL} when {{ {condition} }};")
    assert point.decide(Question(CALLER, "call", TOOL, call_context(facts()))).allowed
    assert len(point._answers) == 0


def test_no_argument_stays_in_memory() -> None:
    """Of what a call says, an answer that is kept has the yes and no of the comparisons alone."""
    point = pdp(f"{CALL} when {{ {LOOKS[0]} }};")
    context = call_context(facts(arguments={"path": "a-very-long-secret"}))
    assert point.decide(Question(CALLER, "call", TOOL, context)).allowed
    (put,) = point._answers._kept._entries
    assert "secret" not in repr(put)


@pytest.mark.parametrize(
    ("policies", "looks", "kept"), [(1, 3, 1), (8, 10, 0), (64, 1, 1), (65, 1, 0)]
)
def test_looks_are_bounded(policies: int, looks: int, kept: int) -> None:
    """Beyond so many, of one policy or of many, the engine is asked each time."""
    path = "context.arguments has read_file && context.arguments.read_file.path"
    texts = []
    for one in range(policies):
        others = (f'{path} == "{one}-{other}"' for other in range(looks - 1))
        condition = " || ".join([f'{path} like "a*"', *others])
        texts.append(f"{CALL} when {{ {condition} }};")
    point = pdp("".join(texts))
    question = Question(CALLER, "call", TOOL, call_context(facts(arguments={"path": "a"})))
    assert point.decide(question).allowed
    assert len(point._answers) == kept


def test_an_answer_with_an_error_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was unsure is asked again, as is what the engine failed at."""
    point = pdp(
        f"{CALL}; forbid (principal, action, resource) when {{ 9223372036854775807 + 1 > 0 }};"
    )
    question = Question(CALLER, "call", TOOL, call_context(facts()))
    for _ in range(2):
        assert point.decide(question).code is ReasonCode.EVALUATION_ERROR
    assert len(point._answers) == 0

    def fail(*_: object) -> None:
        raise RuntimeError

    point = pdp(f"{CALL};")
    with monkeypatch.context() as patch:
        patch.setattr(cedarpy, "is_authorized", fail)
        assert point.decide(question).code is ReasonCode.ENGINE_ERROR
    assert point.decide(question).allowed


def test_nothing_is_remembered_of_what_a_question_brings() -> None:
    """An entity that exists for one question has no part in the answer to another."""
    point = pdp('permit (principal, action == Action::"connect", resource);')
    host = HostEntity("api.example.com")
    context = context_for("connect")[1]
    asked = Question(CALLER, "connect", host.uid, context, (host,))
    assert point.decide(asked).allowed
    assert point.decide(replace(asked, entities=())).code is ReasonCode.UNKNOWN_RESOURCE
    assert len(point._answers) == 0


def test_other_entities_have_answers_of_their_own() -> None:
    """A device that is taken out of its group is not answered as the member that it was."""
    text = 'permit (principal in Group::"callers", action == Action::"call", resource);'
    before = pdp(text)
    others = [one for one in entities() if one.uid != CALLER]
    alone = EntityStore.build([*others, DeviceEntity(CALLER.id, "callers")], before.bundle.schema)
    after = PDP(before.bundle, alone)
    for _ in range(2):
        assert ask_call(before, str_of(CALLER), "call").allowed
        assert not ask_call(after, str_of(CALLER), "call").allowed


def str_of(one: object) -> str:
    """As the tests' world writes it."""
    return str(one).replace('"', "")


def test_answers_that_are_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many questions there are; and a retired decision point keeps none."""
    monkeypatch.setattr(answers, "MAX_ANSWERS", 4)
    point = pdp(f'{CALL} when {{ context.origin != "x" }};')
    for number in range(9):
        context = call_context(replace(facts(), origin=f"10.0.0.{number}"))
        assert point.decide(Question(CALLER, "call", TOOL, context)).allowed
    assert len(point._answers) == 4
    long = call_context(replace(facts(), origin="1" * 600))
    assert point.decide(Question(CALLER, "call", TOOL, long)).allowed
    assert len(point._answers) == 4
    point.retire(lambda: None)
    assert len(point._answers) == 0


BESIDE = "context.arguments has read_file && context.arguments.read_file.path != principal.name"


@pytest.mark.parametrize(
    ("condition", "asked"),
    [(BESIDE, 1), (f'{BESIDE} && action != Action::"approve"', 3), ("context.clock.hour < 24", 0)],
)
def test_of_what_cannot_tell_actions_apart_the_engine_is_asked_once_for_a_call(
    monkeypatch: pytest.MonkeyPatch, condition: str, asked: int
) -> None:
    """The three questions of one call; the next call is another, whose arguments are its own."""
    actions = ("call", "run_in_process", "call_unattended")
    named = ", ".join(f'Action::"{action}"' for action in actions)
    point = pdp(f"permit (principal, action in [{named}], resource) when {{ {condition} }};")
    for action in actions:  # whether the form fits is asked once, too
        point.decide(Question(CALLER, action, TOOL, call_context(facts())))
    for name in ("b.txt", "c.txt"):
        later = facts().time + timedelta(hours=1 if name == "b.txt" else 2)
        context = call_context(replace(facts(arguments={"path": name}), time=later))
        answers = [
            engine_asked(monkeypatch, point, Question(CALLER, action, TOOL, context))
            for action in actions
        ]
        assert all(decision.allowed for decision, _ in answers)
        assert sum(count for _, count in answers) == asked


def test_the_engine_is_asked_anew_about_no_more_than_it_has_to_be(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of two permits one is remembered; both are named, in the order of the set."""
    more = f'@id("b") {CALL}; @id("a") {CALL} when {{ {BESIDE} }}; @id("c") {CALL};'
    point = pdp(more)
    seen: list[int] = []
    real = cedarpy.is_authorized

    def spy(request: object, policies: cedarpy.PolicySet, *rest: object) -> object:
        seen.append(len(policies))
        return real(request, policies, *rest)  # type: ignore[arg-type] # whatever they are

    for name in ("b.txt", "c.txt"):
        seen.clear()
        question = Question(CALLER, "call", TOOL, call_context(facts(arguments={"path": name})))
        with monkeypatch.context() as patch:
            patch.setattr(cedarpy, "is_authorized", spy)
            decision = point.decide(question)
        assert [ref.id for ref in decision.reasons] == ["b", "a", "c"]
    assert seen == [1]


def test_what_other_policies_were_asked_is_another_question() -> None:
    """Though both look at the same, and see the same: the parts of a set share one memory."""
    one, other = (Discernment(frozenset({"maintenance"}), ()) for _ in range(2))
    context = call_context(facts())
    asked = one.put(CALLER, "call", TOOL, context)
    assert asked == one.put(CALLER, "call", TOOL, context) is not None
    assert asked != other.put(CALLER, "call", TOOL, context)
