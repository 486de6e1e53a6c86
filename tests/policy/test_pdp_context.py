"""A context that is cut down, and checked once for its form: the answers are those of the whole."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import cedarpy
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy import requests
from policy.context import Context, read
from policy.contexts import CallFacts, call_context
from policy.entities import CallEntity, HostEntity
from policy.pdp import PDP, Decision, Question, ReasonCode
from policy.reading import context_attributes
from policy.risk import Tier
from policy.values import EntityUid, datetime_value, decimal_value, entity_value
from tests.policy.world import CALL_ID, KEY, NOW, OWN_CALL, context_for, facts, pdp, uid

CALLER = uid("Device::dev-callers")
TOOL = uid("Tool::read_file")

# What looks at each attribute, in each way there is, and is valid under the schema.
CONDITIONS = (
    'context.risk.lessThan(decimal("0.3"))',
    'context.risk == decimal("0.2500")',
    'context.time < datetime("2026-11-20T10:00:00.001Z")',
    'context . tier == "process"',
    'context["tier"] == "process"',
    'context.origin like "10.*"',
    "context has workspace",
    "context has workspace && context.workspace.writable",
    'context has workspace && context.workspace == Workspace::"docs"',
    "context.secrets.isEmpty()",
    'context.secrets.contains(Secret::"global/deploy_key")',
    'context has lease && context.lease == "l"',
    'context has "lease"',
    "context.clock.hour >= 10 && context.clock.weekday == 5",
    "context.clock has minute",
    "context.maintenance",
    "context.arguments has read_file",
    'context.arguments has read_file && context.arguments.read_file.path like "a*"',
    'context has arguments.read_file && context.arguments["read_file"].path == "a.txt"',
    "(if principal is Device then context else context).maintenance",
    "[context.maintenance, false].contains(context.maintenance)",
    "context.clock.hour + 9223372036854775800 > 0",
)
FACTS: tuple[CallFacts, ...] = tuple(
    replace(facts(), **changes)
    for changes in (
        {},
        {"risk": Decimal("0.3"), "tier": Tier.GVISOR},
        {"workspace": uid("Workspace::docs"), "maintenance": True},
        {"workspace": uid("Workspace::scratch"), "lease": "m"},
        {"lease": "l", "secrets": frozenset({KEY.uid})},
    )
)


def strict(point: PDP, question: Question) -> Decision:
    """The same, with the whole context, and the engine checking it under the schema."""
    return point.decide(replace(question, context=dict(question.context)))


@pytest.mark.parametrize("effect", ["permit", "forbid"])
@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_cut_down_context_gives_the_answer_of_the_whole(condition: str, effect: str) -> None:
    """Whatever a policy looks at, and however: nothing that matters is cut off."""
    point = pdp(
        'permit (principal, action == Action::"call", resource) when { !context.maintenance };'
        f'{effect} (principal, action == Action::"call", resource) when {{ {condition} }};'
    )
    for one in FACTS:
        question = Question(CALLER, "call", TOOL, call_context(one))
        assert point.decide(question) == strict(point, question)


def test_every_action_has_the_answer_of_the_whole_context() -> None:
    """For each action of the schema, with a policy that looks at all its context."""
    point = pdp(
        "permit (principal, action, resource) when { context.maintenance == false };\n"
        'permit (principal, action == Action::"connect", resource) when { context.port == 443 };\n'
        'permit (principal, action == Action::"approve", resource)'
        ' when { context.requester.device == Device::"dev-callers" };\n'
        'permit (principal, action == Action::"call_attended", resource) when {'
        ' context.approver_count == 1 && context.approvers.contains(Device::"dev-owners") &&'
        ' context.approver_groups == [Group::"owners"] };\n'
        'permit (principal, action == Action::"use_secret", resource) when { context.tool in'
        ' Toolset::"builtin" };\n'
        'permit (principal, action == Action::"watch_call", resource) when { resource.device in'
        ' Group::"callers" && resource.device.name == "callers" };'
    )
    for action in sorted(one.id for one in point.bundle.schema.groups):
        resource, context, own = context_for(action)
        for who in (CALLER, uid("Agent::bot")):
            question = Question(who, action, uid(resource), context, own)
            assert point.decide(question) == strict(point, question), action


def names_seen(
    monkeypatch: pytest.MonkeyPatch, point: PDP, question: Question
) -> list[tuple[set[str], bool]]:
    """Of each request to the engine: the context's names, and whether there was a schema."""
    seen: list[tuple[set[str], bool]] = []
    real = cedarpy.is_authorized

    def spy(request: dict[str, str], *rest: object) -> object:
        seen.append((set(orjson.loads(request["context"])), rest[2] is not None))
        return real(request, *rest)  # type: ignore[arg-type] # the handles, whatever they are

    with monkeypatch.context() as patch:
        patch.setattr(cedarpy, "is_authorized", spy)
        point.decide(question)
    return seen


def test_of_the_clock_the_engine_gets_what_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """The hour where the hour is asked for; all of it where that is not known."""
    for condition, parts in (
        ("context.clock.hour < 24 && context.clock has minute", {"hour", "minute"}),
        ("context.clock == context.clock", {"date", "epoch", "hour", "minute", "weekday"}),
    ):
        point = pdp(
            f'permit (principal, action == Action::"call", resource) when {{ {condition} }};'
        )
        seen: list[set[str]] = []
        real = cedarpy.is_authorized

        def spy(
            request: dict[str, str],
            *rest: object,
            into: list[set[str]] = seen,
            real: Callable[..., object] = real,
        ) -> object:
            into.append(set(orjson.loads(request["context"])["clock"]))
            return real(request, *rest)

        with monkeypatch.context() as patch:
            patch.setattr(cedarpy, "is_authorized", spy)
            assert point.decide(Question(CALLER, "call", TOOL, call_context(facts()))).allowed
        assert seen[-1] == parts


def test_the_forms_that_builders_know_are_those_that_are_read() -> None:
    """Of every context that is made: with or without what may be left out of it."""
    for action in sorted(one.id for one in pdp("").bundle.schema.groups):
        _, context, _ = context_for(action)
        assert isinstance(context, Context)
        assert context._forms
        assert context.reading == read(context.values_by_name)


def test_the_schema_is_asked_once_for_each_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """First under the schema with everything, from then on with what the policies look at."""
    text = 'permit (principal, action == Action::"call", resource) when { context.tier != "" };'
    point = pdp(text)
    question = Question(CALLER, "call", TOOL, call_context(facts()))
    other = replace(question, context=call_context(facts(workspace="docs")))
    first, second = names_seen(monkeypatch, point, question)
    assert first == (set(question.context), True)
    assert second == ({"tier"}, False)
    gvisor = replace(question, context=call_context(replace(facts(), tier=Tier.GVISOR)))
    assert names_seen(monkeypatch, point, gvisor) == [({"tier"}, False)]
    assert names_seen(monkeypatch, point, other) == [(set(other.context), True)]  # and remembered


def test_a_form_that_does_not_fit_is_refused_however_often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor is one let through because another of the same names was."""
    point = pdp("permit (principal, action, resource);")
    good = call_context(facts(workspace="docs"))
    assert point.decide(Question(CALLER, "call", TOOL, good)).allowed
    tool = entity_value(TOOL)
    for name, value in (
        *(("risk", 1), ("tier", True), ("arguments", {"x": {}})),
        *(("secrets", ["x"]), ("secrets", [tool]), ("workspace", tool)),
    ):
        bad = Context({**good, name: value})
        for _ in range(2):
            code = point.decide(Question(CALLER, "call", TOOL, bad)).code
            assert code is ReasonCode.BAD_REQUEST, name
    agent = Question(uid("Agent::bot"), "approve", TOOL, context_for("approve")[1])
    assert point.decide(agent).code is ReasonCode.BAD_REQUEST
    assert names_seen(monkeypatch, point, agent)[0][1]


def test_forms_that_are_kept_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Arguments choose forms; they cannot fill the memory with them."""
    monkeypatch.setattr(requests, "MAX_FORMS", 4)
    point = pdp("permit (principal, action, resource);")
    for action in ("call", "call_unattended", "run_in_process", "run_in_container"):
        for workspace in (None, "docs"):
            context = call_context(facts(workspace=workspace))
            assert point.decide(Question(CALLER, action, TOOL, context)).allowed
    assert len(point.bundle.requests._fit) == 4


VALUES = st.recursive(
    st.one_of(
        st.text(max_size=3),
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.sampled_from((decimal_value(Decimal("0.5")), datetime_value(NOW))),
        st.builds(entity_value, st.sampled_from((CALLER, TOOL, EntityUid("Group", "g")))),
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(("a", "b", "type", "id")), inner, max_size=3)
    ),
    max_leaves=4,
)
SCHEMAS = tuple(
    cedarpy.Schema.from_str(
        "entity Device; entity Tool; entity Group;"
        f"action x appliesTo {{ principal: [Device], resource: [Tool], context: {{ v: {kind} }} }};"
    )
    for kind in (
        "Long",
        "Set<Long>",
        "Group",
        "Set<Group>",
        "{a: Long, b?: Set<String>}",
        "decimal",
    )
)


def twin(value: object) -> object:
    """Another value of the same form."""
    match value:
        case bool():
            return not value
        case int():
            return -(value + 1)
        case str():
            return f"{value}'"
        case list():
            return [*map(twin, reversed(value)), *value]
        case {"__entity": {"type": kind}}:
            return entity_value(EntityUid(str(kind), "another"))
        case {"__extn": {"fn": "decimal"}}:
            return decimal_value(Decimal("0.75"))
        case {"__extn": _}:
            return datetime_value(NOW + timedelta(days=1))
        case dict():
            return {name: twin(one) for name, one in value.items()}
    raise AssertionError(value)


@given(VALUES)
def test_values_of_one_form_fit_a_schema_together(one: object) -> None:
    """What the engine says of a value under a schema, it says of every value of the same form."""
    other = twin(one)
    assert read(one).form == read(other).form
    for schema in SCHEMAS:
        fits = [
            cedarpy.is_authorized(
                {
                    "principal": CALLER.to_json(),
                    "action": {"type": "Action", "id": "x"},
                    "resource": TOOL.to_json(),
                    "context": {"v": value},
                },
                "",
                "[]",
                schema,
            ).decision
            for value in (one, other)
        ]
        assert fits[0] is fits[1]


@pytest.mark.parametrize(
    ("text", "attributes"),
    [
        ("permit (principal, action, resource);", set()),
        ("when { context.a && context has b.c }", {"a", "b"}),
        ("when { context\n.\ta.lessThan(x) }", {"a"}),
        ('when { context["a"] }', None),
        ("when { context == {a: 1} }", None),
        ("when { context.contains(1) }", None),
        ("when { context // .b\n.a }", None),
        ("when { (if x then context else context).a }", None),
        ('when { context has "a" }', None),
        ('when { principal.context && "context" like "x" }', None),
        ("when { mycontext.a && contexts.b }", set()),
    ],
)
def test_what_a_policy_looks_at_is_read_off_its_text(
    text: str, attributes: set[str] | None
) -> None:
    """A name where it can only be an attribute's; anything else could be any attribute."""
    assert context_attributes(text) == attributes


def test_what_a_question_brings_is_judged_beside_what_there_is() -> None:
    """An entity given with a question reaches the attributes and groups of those in the store."""
    text = (
        'permit (principal, action == Action::"watch_call", resource) when {'
        ' resource.device.name == "callers" && resource.device in Group::"callers" &&'
        ' resource.tool in Toolset::"builtin" && Device::"dev-owners".name == "owners" };'
    )
    _, context, _ = context_for("watch_call")
    question = Question(CALLER, "watch_call", OWN_CALL.uid, context, (OWN_CALL,))
    assert pdp(text).decide(question).allowed
    text = (
        'permit (principal, action == Action::"watch_call", resource) when {'
        ' resource has agent && resource.agent in Group::"owners" };'  # by way of its device
    )
    call = CallEntity(CALL_ID, "dev-callers", "read_file", agent="robot")
    assert pdp(text).decide(replace(question, entities=(call,))).allowed
    host = HostEntity("api.example.com")
    connect = 'permit (principal in Group::"callers", action == Action::"connect", resource);'
    _, context, _ = context_for("connect")
    assert pdp(connect).decide(Question(CALLER, "connect", host.uid, context, (host,))).allowed
