"""On random policies under the daemon's own schema: the decision is the one of the whole set.

The reference looks at every policy, with the whole context, has the engine check each request
against the schema, and knows the entity that comes with a question from the start; the decision
point narrows all four.
"""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from policy.arguments import JsonSchema, to_context, translate
from policy.bundle import Bundle
from policy.contexts import call_context
from policy.entities import DeviceEntity
from policy.entity_store import EntityStore
from policy.errors import BundleError
from policy.pdp import PDP, Question
from policy.schema import compose, load_base
from tests.policy.test_pdp_slices import WholeSet
from tests.policy.world import CALL_ID, OWN_CALL, SCHEMA, context_for, entities, facts, uid

PRINCIPALS = (
    "principal",
    "principal is Agent",
    'principal == Device::"dev-callers"',
    'principal in Group::"callers"',
    'principal is Agent in Group::"owners"',
    'principal is Device in Group::"auditors"',
    'principal in Device::"dev-callers"',
    'principal == Agent::"bot"',
)
ACTIONS = (
    "action",
    'action == Action::"call"',
    'action in [Action::"call", Action::"call_unattended"]',
    'action in Action::"administer"',
    'action in [Action::"greet", Action::"read"]',
    'action == Action::"watch_call"',
    'action == Action::"use_secret"',
    'action == Action::"approve"',
)
RESOURCES = (
    "resource",
    'resource == Tool::"read_file"',
    'resource in Toolset::"builtin"',
    "resource is Tool",
    'resource is Tool in Toolset::"local"',
    'resource == Daemon::"stockade"',
    f'resource == Call::"{CALL_ID}"',
    "resource is Secret",
)
CONDITIONS = (
    "",
    "when { context.maintenance }",
    "unless { context.clock.hour < 9 }",
    "when { context.clock.hour + 9223372036854775800 > 0 }",
    'when { principal is Agent && principal in Device::"dev-callers" }',
    'when { context has workspace && context["workspace"].writable }',
    "when { resource is Tool && resource.network }",
    'when { resource is Call && resource.device.name == "callers" }',
    'when { principal.hasTag("x") && principal.getTag("x") == "y" }',
    'when { context.time < datetime("2020-01-01") }',
)
POLICIES = st.lists(
    st.tuples(
        st.sampled_from(("permit", "forbid")),
        *(st.sampled_from(some) for some in (PRINCIPALS, ACTIONS, RESOURCES, CONDITIONS)),
    ).map(lambda p: f"{p[0]} ({p[1]}, {p[2]}, {p[3]}) {p[4]};"),
    max_size=14,
)
OVERFLOW = (
    'forbid (principal, action == Action::"call", resource)'
    " when { context.clock.hour + 9223372036854775807 > 0 };"
)
ASKED = (
    "call",
    "call_unattended",
    "run_in_process",
    "use_secret",
    "approve",
    "watch_call",
    "who_am_i",
)


def valid(policies: list[str]) -> Bundle:
    """The bundle of those that the schema allows; each stands on a line of its own."""
    while True:
        try:
            return Bundle.build({"a.cedar": "\n".join(policies)}, SCHEMA)
        except BundleError as error:
            wrong = {problem.line for problem in error.problems}
            policies = [one for line, one in enumerate(policies, 1) if line not in wrong]


@pytest.fixture(scope="module")
def seen() -> set[str]:
    return set()


@settings(max_examples=120)
@example([])
@example(["permit (principal, action, resource);"])
@example(["permit (principal, action, resource);", "forbid (principal, action, resource);"])
@example(["permit (principal, action, resource);", OVERFLOW])
@given(POLICIES)
def test_the_decision_is_that_of_the_whole_set(seen: set[str], policies: list[str]) -> None:
    """Allowed, code, policies and errors, for every principal and a question of each kind."""
    bundle = valid(policies)
    sliced = PDP(bundle, EntityStore.build(entities(), bundle.schema))
    whole = WholeSet(bundle, EntityStore.build([*entities(), OWN_CALL], bundle.schema))
    for action in ASKED:
        resource, context, own = context_for(action)
        for who in ("Device::dev-callers", "Device::dev-owners", "Agent::bot", "Agent::robot"):
            question = Question(uid(who), action, uid(resource), context, own)
            expected = whole.decide(replace(question, context=dict(context), entities=()))
            for _ in range(2):  # the second time it may be remembered
                assert sliced.decide(question) == expected
            seen.add(expected.code)


def test_random_policies_lead_to_every_kind_of_answer(seen: set[str]) -> None:
    """Else the law above would say little."""
    assert {"PERMITTED", "FORBIDDEN", "NOT_PERMITTED", "EVALUATION_ERROR", "BAD_REQUEST"} <= seen


PATH = "context.arguments has read_file && context.arguments.read_file.path"
LOOKING = st.sampled_from(
    (
        "",
        f'when {{ {PATH} like "a*" }}',
        f'unless {{ {PATH} like "*b*" }}',
        f'when {{ {PATH} == "ab" || context.clock.hour >= 12 }}',
        f'when {{ ["a", "b"].contains(context.tier) || {PATH} != principal.name }}',
        "when { context.clock.hour * 60 + context.clock.minute < 700 }",
        'when { context.time < datetime("2026-11-20") }',
        'when { context.time.offset(duration("12h")) < datetime("2026-11-21") }',
        'unless { ["2026-11-20", "2026-11-23"].contains(context.clock.date) }',
        "when { if context.clock.hour > 9 then context.maintenance else context.clock has hour }",
        "when { context.clock.hour + 9223372036854775800 > 0 }",
        "when { context.clock.epoch * 9000000000 > 0 || context.clock.weekday == 5 }",
    )
)
FEW = st.lists(
    st.tuples(st.sampled_from(("permit", "forbid")), LOOKING).map(
        lambda two: f'{two[0]} (principal, action == Action::"call", resource) {two[1]};'
    ),
    min_size=1,
    max_size=4,
)
CALLS = st.lists(
    st.tuples(st.text("ab", max_size=3), st.integers(0, 200), st.booleans()),
    min_size=2,
    max_size=12,
)


@settings(max_examples=60)
@given(FEW, CALLS)
def test_what_is_remembered_is_the_answer_of_the_whole_set(
    policies: list[str], calls: list[tuple[str, int, bool]]
) -> None:
    """Calls with other arguments, at other times: none gets the answer of another."""
    bundle = valid(
        ["permit (principal, action, resource) when { !context.maintenance };", *policies]
    )
    store = EntityStore.build(entities(), bundle.schema)
    sliced, whole = PDP(bundle, store), WholeSet(bundle, store)
    for path, hours, maintenance in calls:
        now = facts(arguments={"path": path})
        time = now.time + timedelta(hours=hours, minutes=hours)
        context = call_context(replace(now, time=time, maintenance=maintenance))
        question = Question(uid("Device::dev-callers"), "call", uid("Tool::read_file"), context)
        expected = whole.decide(replace(question, context=dict(context)))
        assert sliced.decide(question) == expected


# Of a tool with more than one argument, all of which may be missing.
ARGS = "context.arguments.run_shell"
TEXTS, FLAGS = "abcdefg", "tuvwxyz"
MANY: JsonSchema = {
    "type": "object",
    "properties": {
        **{name: {"type": "string"} for name in TEXTS},
        **{name: {"type": "boolean"} for name in FLAGS},
    },
}
GIVEN = f"context has arguments.run_shell && {ARGS} has"
# What constants are compared with is told from what is not, and asked about apart.
OPTIONAL = st.sampled_from(
    [f'{GIVEN} {name} && {ARGS}.{name} == "p"' for name in TEXTS]
    + [f"{GIVEN} {name} && {ARGS}.{name} == principal.name" for name in TEXTS]
    + [f"{GIVEN} {name} && {ARGS}.{name}" for name in FLAGS]
)
APART = st.lists(
    st.tuples(st.sampled_from(("permit", "forbid")), st.sampled_from(("when", "unless")), OPTIONAL),
    min_size=2,
    max_size=5,
)
FEW_GIVEN = st.lists(
    st.fixed_dictionaries(
        {},
        optional={
            **dict.fromkeys(TEXTS, st.sampled_from(("p", "q"))),
            **dict.fromkeys(FLAGS, st.booleans()),
        },
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=200)
@given(APART, FEW_GIVEN)
def test_what_a_part_of_the_set_said_is_not_what_another_says(
    policies: list[tuple[str, str, str]], calls: list[dict[str, object]]
) -> None:
    """Two parts of a set may see the same of a question: nothing, where arguments are missing."""
    _same_as_the_whole_set(policies, calls)


def test_no_part_of_any_two_conditions_answers_for_the_other() -> None:
    """Whatever order the attributes of a pair are looked at in, which is another in each process:
    who gave neither is permitted by the one, and forbidden by the other.
    """
    for text in TEXTS:
        for flag in FLAGS:
            permit = ("permit", "unless", f'{GIVEN} {text} && {ARGS}.{text} == "p"')
            forbid = ("forbid", "unless", f"{GIVEN} {flag} && {ARGS}.{flag}")
            _same_as_the_whole_set([permit, forbid], [{}])


def _same_as_the_whole_set(
    policies: list[tuple[str, str, str]], calls: list[dict[str, object]]
) -> None:
    text = "\n".join(
        f'{effect} (principal, action == Action::"call", resource) {when} {{ {what} }};'
        for effect, when, what in policies
    )
    bundle = Bundle.build({"a.cedar": text}, compose(load_base(), {"run_shell": MANY}))
    store = EntityStore.build(entities(), bundle.schema)
    sliced, whole = PDP(bundle, store), WholeSet(bundle, store)
    for given_arguments in calls:
        arguments = to_context("run_shell", translate(MANY), given_arguments)
        context = call_context(replace(facts(), arguments=arguments))
        question = Question(uid("Device::dev-callers"), "call", uid("Tool::run_shell"), context)
        expected = whole.decide(replace(question, context=dict(context)))
        assert sliced.decide(question) == expected


TOGETHER = ("call", "run_in_process", "call_unattended")
ANY_OF_THEM = st.lists(
    st.tuples(
        st.sampled_from(("permit", "forbid")),
        st.sampled_from(
            (
                "action",
                'action == Action::"call"',
                'action in [Action::"call", Action::"run_in_process"]',
                'action in [Action::"call", Action::"run_in_process", Action::"call_unattended"]',
            )
        ),
        st.sampled_from(
            (
                "",
                f"when {{ {PATH} != principal.name }}",
                f"unless {{ {PATH} == principal.name || context.clock.epoch == 1 }}",
                f'when {{ {PATH} == principal.name || action == Action::"run_in_process" }}',
                f'when {{ action in [Action::"call"] && {PATH} != principal.name }}',
                "when { context.clock.hour + context.clock.minute > 20 }",
                f"when {{ {PATH} != principal.name && context.clock.epoch * 9000000000 > 0 }}",
                f"when {{ {PATH} != principal.name && resource.network }}",
                "when { context.maintenance || context.clock.hour < 9 }",
                "when { context has clock && context.clock has hour }",
            )
        ),
    ).map(lambda p: f"{p[0]} (principal, {p[1]}, resource) {p[2]};"),
    max_size=8,
)


@settings(max_examples=80)
@given(ANY_OF_THEM)
def test_the_questions_of_one_call_have_the_answers_of_the_whole_set(policies: list[str]) -> None:
    """They share a context, and what was said of one action about it is said of another only where
    policies cannot tell; another principal, tool or decision point gets no answer of theirs.
    """
    bundle = valid(policies)
    store = EntityStore.build(entities(), bundle.schema)
    others = EntityStore.build(
        [DeviceEntity("dev-owners", "a.txt", ()), *entities()[1:]], bundle.schema
    )
    context = call_context(facts())
    for there in (store, others):
        sliced, whole = PDP(bundle, there), WholeSet(bundle, there)
        for who in ("Device::dev-owners", "Device::dev-callers", "Agent::bot"):
            for what in ("Tool::read_file", "Tool::publish"):
                for action in TOGETHER:
                    question = Question(uid(who), action, uid(what), context)
                    expected = whole.decide(replace(question, context=dict(context)))
                    assert sliced.decide(question) == expected
