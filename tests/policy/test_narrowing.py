"""A schema without what cannot matter: its yes is that of the whole, its no is asked again."""

import cedarpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.bundle import Bundle
from policy.errors import BundleError
from policy.narrowing import Narrowed
from policy.schema import parse_schema
from tests.policy.test_pdp_laws import CONDITIONS, PRINCIPALS, RESOURCES
from tests.policy.world import SCHEMA

WHOLE = parse_schema(SCHEMA)
NARROWED = Narrowed(WHOLE)
ACTIONS = (
    "call",
    "call_attended",
    "use_secret",
    "connect",
    "watch_call",
    "who_am_i",
    "revoke_agent",
)
MORE = (
    "when { context.approver_count > 1 }",
    "when { context.port == 443 }",
    "when { context has port && context.port == 443 }",
    "when { context.nothing }",
    "when { principal.nam == 1 }",
    'when { action in Action::"greet" }',
    'when { action == Action::"who_am_i" || context.nothing }',
    'when { action == Action::"nope" }',
    "when { resource.device == principal }",
    "unless { principal == resource }",
    "when { context.time < 3 }",
    "when { if principal is Agent then context.tier == 1 else true }",
)
POLICY = st.builds(
    lambda effect, who, action, what, condition: (
        action,
        f'{effect} ({who}, action == Action::"{action}", {what}) {condition};',
    ),
    st.sampled_from(("permit", "forbid")),
    st.sampled_from(PRINCIPALS),
    st.sampled_from(ACTIONS),
    st.sampled_from(RESOURCES),
    st.sampled_from((*CONDITIONS, *MORE)),
)


def passes(text: str, schema: cedarpy.Schema) -> bool:
    return bool(cedarpy.validate_policies(text, schema).validation_passed)


@given(POLICY)
def test_what_passes_the_narrower_schema_passes_the_whole(policy: tuple[str, str]) -> None:
    """Of whatever types, attributes and other actions it speaks."""
    action, text = policy
    narrow = NARROWED.to(action)
    assert narrow is not None
    assert passes(text, WHOLE.handle) or not passes(text, narrow)


@pytest.mark.parametrize("condition", MORE)
def test_among_many_of_one_action_each_is_judged_as_alone(condition: str) -> None:
    """Enough of them that the narrower schema is asked; the one that is wrong has its place."""
    good = 'permit (principal, action == Action::"call", resource) when { !context.maintenance };'
    other = f'permit (principal, action == Action::"call", resource) {condition};'
    lines = [good] * 30
    lines[20] = other
    wrong = []
    try:
        Bundle.build({"a.cedar": "\n".join(lines)}, SCHEMA)
    except BundleError as refused:
        wrong = [(one.line, one.code) for one in refused.problems]
    if passes(other, WHOLE.handle):
        assert wrong == []
    else:
        assert set(wrong) == {(21, "POLICY_INVALID")}


def test_the_daemons_schema_has_a_narrower_form_for_each_action() -> None:
    """Of those that can be asked about; a group of actions, and what there is not, have none."""
    asked = [one.id for one in WHOLE.groups if one.id not in GROUPS]
    assert len(asked) > 70
    assert [one for one in asked if NARROWED.to(one) is None] == []
    assert [NARROWED.to(name) for name in (*GROUPS, "nope", "")] == [None] * 7


GROUPS = ("administer", "operate", "review", "read", "greet")


@pytest.mark.parametrize(
    "text",
    [
        "namespace N { entity A; action x appliesTo { principal: [A], resource: [A] }; }",
        '@doc("; action") entity A; action x appliesTo { principal: [A], resource: [A] };',
        'entity A; action "x" appliesTo { principal: [A], resource: [A] };',
        "entity A; action y, z appliesTo { principal: [A], resource: [A] }; action x in [y];",
    ],
    ids=["namespace", "annotation", "quoted", "a group of none"],
)
def test_a_schema_of_another_make_is_taken_whole(text: str) -> None:
    """Where it is not certain what may be left out, nothing is."""
    assert Narrowed(parse_schema(text)).to("x") is None


def test_a_comment_declares_nothing() -> None:
    """Nor does a string, or white space without end."""
    text = "entity A;" + " \n" * 3000 + "// action x appliesTo { ; entity B; // // //\n"
    text += "action y appliesTo { principal: [A], resource: [A] }; action z;"
    narrowed = Narrowed(parse_schema(text))
    assert narrowed.to("x") is None
    assert narrowed.to("y") is not None
    assert narrowed.to("z") is None
