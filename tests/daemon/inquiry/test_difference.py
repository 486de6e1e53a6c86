"""What differs between two sets, and the law that nothing else can permit more."""

from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.inquiry.difference import Change, compare
from policy.bundle import Bundle
from policy.contexts import call_context
from policy.entity_store import EntityStore
from policy.fallible import can_fail
from policy.pdp import PDP, Question
from tests.policy.world import SCHEMA, entities, facts, uid

OPEN = 'permit (principal, action == Action::"call", resource);'
SHUT = 'forbid (principal, action == Action::"call", resource);'


def bundle(files: Mapping[str, str] | str) -> Bundle:
    return Bundle.build({"a.cedar": files} if isinstance(files, str) else files, SCHEMA)


def changes(before: Mapping[str, str] | str, after: Mapping[str, str] | str) -> tuple[Change, ...]:
    return compare(bundle(before), bundle(after))


def named(name: str, text: str) -> str:
    return f'@id("{name}") {text}'


def test_the_same_policies_do_not_differ() -> None:
    """Comments and white space between policies are no policies."""
    assert not changes(named("a", OPEN), named("a", OPEN) + "\n// more")


@pytest.mark.parametrize(
    ("before", "after", "what", "more"),
    [
        ("", OPEN, "added", True),
        ("", SHUT, "added", False),
        (OPEN, "", "removed", False),
        (SHUT, "", "removed", True),
        (OPEN, SHUT, "changed", False),
        (SHUT, OPEN, "changed", True),
        (SHUT, SHUT.replace("resource)", "resource) when { false }"), "changed", True),
        (OPEN, OPEN.replace("resource)", "resource) when { false }"), "changed", True),
    ],
)
def test_what_could_permit_more(before: str, after: str, what: str, more: bool) -> None:
    """A permit that is new or changed, a forbid that is gone or changed; nothing else."""
    [change] = changes(
        named("a", before) if before else "// none", named("a", after) if after else "// none"
    )
    assert (change.what, change.id, change.may_permit_more) == (what, "a", more)
    assert (change.before is None, change.after is None) == (not before, not after)


@pytest.mark.parametrize(
    "condition",
    [
        "context.clock.epoch + 1 > 0",
        "context.clock.epoch * 2 > 0",
        "-context.clock.epoch < 0",
        'context.time.offset(duration("1d")) > context.time',
        'context.time.durationSince(context.time) == duration("0s")',
        "[1, 2].contains(1 - context.clock.hour)",
        'Workspace::"gone".writable',
        '(Workspace::"gone").writable',
        'Workspace::"gone" has writable || Workspace::"gone".writable',
        '(if principal.name == "a" then Workspace::"a" else Workspace::"b").writable',
        '{of: Tool::"gone"}.of.network',
        'Tool::"gone".hasTag("a") && Tool::"gone".getTag("a") == "b"',
    ],
)
def test_a_policy_that_can_be_in_error(condition: str) -> None:
    """While it is in error it denies: that it goes can permit, also if it was a permit."""
    text = OPEN.replace("resource)", f"resource) when {{ {condition} }}")
    assert can_fail(text)
    [change] = changes(named("a", text), "// gone")
    assert change.may_permit_more
    assert not can_fail(OPEN.replace("resource)", 'resource) when { "1 + 1 - 2 * 3" == "" }'))


def test_a_policy_that_moved() -> None:
    """In another file, or at another line, it says the same."""
    [line] = changes(named("a", OPEN), "\n\n" + named("a", OPEN))
    assert (line.what, line.may_permit_more) == ("moved", False)
    [file] = changes({"a.cedar": named("a", OPEN)}, {"b.cedar": named("a", OPEN)})
    assert file.what == "moved"
    assert (file.before and file.before.file, file.after and file.after.file) == (
        "a.cedar",
        "b.cedar",
    )


def test_policies_without_ids_are_told_apart_by_their_text() -> None:
    """A policy before them does not make them all changed."""
    found = changes(f"{OPEN}\n{SHUT}", f"{SHUT}\n{OPEN}\n{OPEN}")
    assert sorted(change.what for change in found) == ["added", "moved", "moved"]


CONDITIONS = (
    "",
    'when { principal.name == "callers" }',
    'when { principal in Group::"callers" }',
    "when { resource.network }",
    "unless { resource.network }",
    "when { 9223372036854775807 + context.clock.hour > 0 }",
    'when { Workspace::"gone".writable }',
    "when { false }",
)
POLICY = st.builds(
    lambda effect, resource, condition: (
        f'{effect} (principal, action == Action::"call", {resource}) {condition};'
    ),
    st.sampled_from(("permit", "forbid")),
    st.sampled_from(("resource", 'resource == Tool::"publish"')),
    st.sampled_from(CONDITIONS),
)
SETS = st.dictionaries(st.sampled_from("abcd"), POLICY, max_size=4)
QUESTIONS = [
    Question(uid(f"Device::dev-{who}"), "call", uid(f"Tool::{tool}"), call_context(facts()))
    for who in ("callers", "owners", "nobody")
    for tool in ("publish", "run_shell")
]


def written(policies: Mapping[str, str]) -> str:
    return "\n".join(named(name, text) for name, text in policies.items()) or "// none"


@settings(max_examples=150, deadline=None)
@given(SETS, SETS)
def test_whatever_becomes_possible_comes_through_a_marked_change(
    old: dict[str, str], new: dict[str, str]
) -> None:
    """On random sets: a yes that was a no has a change that says it could be so."""
    before, after = bundle(written(old)), bundle(written(new))
    points = [PDP(one, EntityStore.build(entities(), one.schema)) for one in (before, after)]
    more = any(
        points[1].decide(question).allowed and not points[0].decide(question).allowed
        for question in QUESTIONS
    )
    assert not more or any(change.may_permit_more for change in compare(before, after))
