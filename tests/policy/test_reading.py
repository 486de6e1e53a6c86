"""What is read of a statement without the engine is what the engine reads."""

import json

import cedarpy
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from policy.errors import ScopeError
from policy.reading import read_json, read_plain
from policy.scope import read_scope
from policy.statements import split
from policy.values import EntityUid

# Mostly as people write, so that most is plain; what is not, comes in everywhere.
SPACE = st.sampled_from(("", " ", "\n", "\t ") * 8 + (" // a comment\n", "\r\n", "\u00a0"))
NAMES = st.sampled_from(("A", "N::A", "principal", "Action", "_x9") * 8 + ("in", "N :: A"))
IDS = st.sampled_from(
    ("a", "b c", "::", "A::", "when { x }", ";", ") @id(") * 6
    + ('"', "\\", "\n", "//", "?", "\u00e9", "\u200b", "a\\u{62}")
)


def _string(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


UID = st.builds(lambda name, text: f"{name}::{_string(text)}", NAMES, IDS)
ACTION_UID = st.builds(
    lambda name, text: f"{name}::{_string(text)}", st.sampled_from(("Action", "N::Action")), IDS
)
ENTITY = st.one_of(
    st.just(""),
    UID.map(lambda uid: f" == {uid}"),
    UID.map(lambda uid: f"=={uid}"),
    UID.map(lambda uid: f" in {uid}"),
    NAMES.map(lambda name: f" is {name}"),
    st.builds(lambda name, uid: f" is {name} in {uid}", NAMES, UID),
)
ACTION = st.one_of(
    st.just(""),
    ACTION_UID.map(lambda uid: f" == {uid}"),
    ACTION_UID.map(lambda uid: f" in {uid}"),
    st.lists(ACTION_UID, max_size=3).map(lambda uids: f" in [{', '.join(uids)}]"),
)
CONDITION = st.one_of(
    st.just(""),
    st.builds(lambda uid, text: f"when {{ {uid} == {_string(text)} }}", UID, IDS),
    st.builds(lambda uid: f"unless {{ [{uid}, {uid}].contains(principal) }}", UID),
    st.builds(lambda a, b: f'when {{ {a} in [{b}] && "::" == "A::" }}', UID, UID),
)
ANNOTATION = st.builds(
    lambda name, text: f"@{name}({_string(text)})", st.sampled_from(("id", "note", "in")), IDS
)


@st.composite
def statements(draw: st.DrawFn) -> str:
    def space() -> str:
        return str(draw(SPACE))

    annotations = space().join(draw(st.lists(ANNOTATION, max_size=2, unique_by=lambda a: a[:3])))
    effect = draw(st.sampled_from(("permit", "forbid")))
    return (
        f"{annotations}{space()}{effect}{space()}({space()}principal{draw(ENTITY)}{space()},"
        f"{space()}action{draw(ACTION)}{space()},{space()}resource{draw(ENTITY)}{space()})"
        f"{space()}{draw(CONDITION)}{space()};"
    ).strip()


@settings(max_examples=1500)
@given(statements())
def test_a_plain_statement_is_read_as_the_engine_reads_it(text: str) -> None:
    """Scope, annotations and entities of whatever we read ourselves are the engine's."""
    found, problems = split("a.cedar", text)
    assume(not problems and len(found) == 1)
    plain = read_plain(found[0].text)
    try:
        written = json.loads(cedarpy.policies_to_json_str(found[0].text))
    except ValueError:
        return  # no policy: admission asks the engine about every one
    if plain is not None:
        assert plain == read_json(written["staticPolicies"]["policy0"], found[0].text)


@pytest.mark.parametrize(
    "text",
    [
        'permit (principal == A::"a\\u{62}", action, resource);',
        "permit (principal == ?principal, action, resource);",
        'permit (principal // == A::"a"\n, action, resource);',
        'permit (principal == A :: "a", action, resource);',
        'permit (principal == A::"\u00e9", action, resource);',
        'permit (principal == A::"a\r", action, resource);',
        'permit (principal == A::"a", action, resource,);',
        'permit (principal == A::"a, action, resource);',
        'permit (action, principal == A::"a", resource);',
        "@id permit (principal, action, resource);",
        'permit (principal, action in Action::"a" , resource) when { "\\"" == "" };',
    ],
)
def test_what_could_be_read_otherwise_is_left_to_the_engine(text: str) -> None:
    """An escape, a comment, a slot, a foreign letter: not plain."""
    assert read_plain(text) is None


def test_most_of_what_people_write_is_plain() -> None:
    """The default policy's own forms are read without the engine."""
    text = (
        '@id("x")\npermit (\n  principal is Device in Group::"a",\n'
        '  action in [Action::"a", Action::"b"],\n  resource is Tool in Toolset::"t"\n)\n'
        'when { resource == Tool::"x::" && "Tool::" != "y" };'
    )
    reading = read_plain(text)
    assert reading is not None
    assert EntityUid("Tool", "x::") in reading.uids
    assert {uid.type for uid in reading.uids} == {"Group", "Action", "Toolset", "Tool"}


@pytest.mark.parametrize(
    "constraint",
    [
        None,
        {"op": "like", "pattern": "x"},
        {"op": "==", "slot": "?principal"},
        {"op": "==", "entity": {"type": "A"}},
        {"op": "is", "entity_type": "A", "in": "everything"},
        {"op": "is", "entity_type": "A", "in": {"slot": "?resource"}},
    ],
)
def test_a_scope_that_is_not_understood_is_refused(constraint: object) -> None:
    """A form that the engine may learn one day is an error, never read as 'any'."""
    whole = {"principal": {"op": "All"}, "action": {"op": "All"}, "resource": {"op": "All"}}
    for part in whole:
        with pytest.raises(ScopeError):
            read_scope({**whole, part: constraint})
