"""What a policy can tell apart of a context: what looks the same to it has the same answer.

The engine is asked without a schema here, so that values of every type meet comparisons of every
kind, and errors are as frequent as answers.
"""

import json
from collections.abc import Mapping

import cedarpy
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from policy.kinds import Absent
from policy.looks import Look, looks_of, seen
from policy.tree import tree_of
from policy.values import CedarValue

NAMES = frozenset({"a", "t", "clock"})
REQUEST = {"principal": 'P::"p"', "action": 'Action::"x"', "resource": 'P::"p"'}
DATES = ("2026-12-24", "2026-12-24T00:00:00Z", "2026-12-24T00:00:00.001Z", "2026-02-30")


def policy(condition: str) -> str:
    """A permit under a condition."""
    return f"permit (principal, action, resource) when {{ {condition} }};"


def asked(text: str, context: object) -> tuple[cedarpy.Decision, list[str], int]:
    """What the engine says: decision, policies, how many were in error."""
    entities = [{"uid": {"type": "P", "id": "p"}, "attrs": {"s": "ab", "n": 1}, "parents": []}]
    request = {**REQUEST, "context": json.dumps(context)}
    result = cedarpy.is_authorized(request, text, entities)
    diagnostics = result.diagnostics
    return result.decision, sorted(diagnostics.reasons), len(diagnostics.errors)


TEXTS = st.text("ab*\\é\U0001f600\n", max_size=4)
SCALARS = TEXTS | st.booleans() | st.integers(-2, 2) | st.sampled_from((-(2**63), 2**63 - 1))
ENTITIES = st.just({"__entity": {"type": "P", "id": "p"}})
EXTENSIONS = st.sampled_from(DATES[:3]).map(
    lambda text: {"__extn": {"fn": "datetime", "arg": text}}
) | st.just({"__extn": {"fn": "decimal", "arg": "1.0"}})
VALUES = st.recursive(
    SCALARS | ENTITIES | EXTENSIONS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(("a", "b", "hour", "epoch")), inner, max_size=3)
    ),
    max_leaves=4,
)
CONTEXTS = st.dictionaries(st.sampled_from(("a", "t", "clock")), VALUES, max_size=3)


def quoted(text: str) -> str:
    """As Cedar writes it."""
    escaped = "".join(c if c in "ab*" else f"\\u{{{ord(c):x}}}" for c in text)
    return f'"{escaped}"'


LITERALS = st.one_of(
    TEXTS.map(quoted),
    st.booleans().map(lambda one: str(one).lower()),
    st.integers(-2, 2).map(str),
    st.sampled_from(DATES).map(lambda text: f'datetime("{text}")'),
)
PATTERNS = st.lists(st.sampled_from(("*", "\\*", "a", "b", "é", "ab")), max_size=5).map(
    lambda some: f'"{"".join(some)}"'
)
PATHS = st.sampled_from(
    (
        "context",
        "context.a",
        "context.a.b",
        "context.a.b.a",
        "context.t",
        "context.clock.a",
        "context.clock.hour",
        'context["clock"]["epoch"]',
        "{x: context.a}.x",
        "principal.s",
    )
)
ATOMS = st.one_of(
    st.tuples(PATHS, PATTERNS).map(lambda two: f"{two[0]} like {two[1]}"),
    st.tuples(PATHS, st.sampled_from(("a", "b", "a.b", "clock.hour", '"*"'))).map(
        lambda two: f"{two[0]} has {two[1]}"
    ),
    st.tuples(PATHS, st.sampled_from(("==", "!=", "<", "<=", ">", ">=")), LITERALS | PATHS).map(
        lambda three: " ".join(three)
    ),
    st.tuples(LITERALS, st.sampled_from(("==", "!=", "<", "<=", ">", ">=")), PATHS).map(
        lambda three: " ".join(three)
    ),
    st.tuples(st.lists(LITERALS, max_size=3), PATHS).map(
        lambda two: f"[{', '.join(two[0])}].contains({two[1]})"
    ),
    st.tuples(PATHS, LITERALS).map(lambda two: f"{two[0]}.contains({two[1]})"),
    PATHS,
    st.tuples(PATHS, st.sampled_from(("+ 1 > 0", "* 2 == 2", "is P", "in [principal]"))).map(
        lambda two: " ".join(two)
    ),
    PATHS.map(lambda path: f'{path}.lessThan(decimal("2.0"))'),
    PATHS.map(lambda path: f'{path}.offset(duration("1h")) > datetime("2026-12-24")'),
)
CONDITIONS = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(("&&", "||", "==")), inner).map(
            lambda three: f"(({three[0]}) {three[1]} ({three[2]}))"
        ),
        inner.map(lambda one: f"!({one})"),
        st.tuples(inner, inner, inner).map(
            lambda three: f"(if {three[0]} then {three[1]} else {three[2]})"
        ),
    ),
    max_leaves=3,
)


def found(text: str, names: frozenset[str] = NAMES) -> tuple[Look, ...] | None:
    """The looks of a policy, in some order."""
    looks = looks_of(tree_of(text), names)
    return None if looks is None else tuple(looks)


@settings(max_examples=100)
@given(CONDITIONS, st.lists(CONTEXTS, min_size=2, max_size=6))
def test_what_looks_the_same_has_the_same_answer(
    condition: str, contexts: list[Mapping[str, CedarValue]]
) -> None:
    """Decision, policies and errors, for every condition and all values, of whatever type."""
    text = policy(condition)
    looks = found(text)
    assume(looks is not None)
    assert looks is not None
    kept: dict[object, tuple[cedarpy.Decision, list[str], int]] = {}
    for context in contexts:
        if (made_out := seen(looks, context)) is not None:
            answer = asked(text, context)
            assert kept.setdefault(made_out, answer) == answer


@settings(max_examples=100)
@given(ATOMS, CONTEXTS)
def test_a_look_makes_out_what_the_engine_says(
    condition: str, context: Mapping[str, CedarValue]
) -> None:
    """A comparison with a constant is a yes, a no or an error to both."""
    text = policy(condition)
    looks = found(text)
    assume(looks is not None and len(looks) == 1)
    assert looks is not None
    made_out = seen(looks, context)
    # A value that counts as itself, and what is wrong about the constant, are the engine's.
    assume(made_out is not None and isinstance(made_out[0], bool | Absent))
    assume("2026-02-30" not in condition and "!=" not in condition)
    assert made_out is not None
    decision, _, errors = asked(text, context)
    if made_out[0] is Absent.HERE:
        assert errors == 1
    elif not errors:
        assert (decision is cedarpy.Decision.Allow) is made_out[0]


@pytest.mark.parametrize(
    "condition",
    [
        "context == {}",
        "context.a == context.t",
        "context.a == principal.s",
        "(if true then context else context).a",
        "{x: context}.x has a",
        "[context.a].contains(1)",
        "context.a + 1 > 0",
        'context.a like "a*" && context.a == principal.s',
        'context.t.offset(duration("1h")) > datetime("2026-12-24")',
        'context.t.toTime() < duration("1h")',
        "context.clock.epoch > principal.n",
        'context.a.contains("a") && principal.s == context.t',
        "context.a.containsAny([1, 2])",
        "context.a.isEmpty()",
        '["a", 1].contains(context.a)',
        'context.t < datetime("2026-12-24T00:00:00+0100")',
    ],
)
def test_any_other_mention_of_a_value_is_none_that_is_known(condition: str) -> None:
    """Put beside another value, counted with, looked at as a whole: nothing is said of it."""
    looks = found(policy(condition))
    context = {"a": "a", "t": "b", "clock": {"hour": 1, "epoch": 2}}
    assert looks is None or seen(looks, context) is None


def test_true_is_not_one() -> None:
    """To Python the numbers 1 and 0 are True and False, and equal to them: not to Cedar."""
    looks = found(policy("context.a == 1 || context.a == true"))
    assert looks is not None
    assert len(looks) == 2
    assert seen(looks, {"a": True}) is None
    (look,) = found(policy("context.a == 1")) or ()
    assert look.at({"a": 1}) is True
    assert seen((look,), {"a": True}) is None


def test_a_pattern_takes_no_longer_for_its_stars() -> None:
    """Many stars against a long text that nearly fits are over at once: no way is tried twice."""
    (look,) = found(policy('context.a like "' + "a*" * 24 + 'b"')) or ()
    assert look.at({"a": "a" * 262_144}) is False
    assert look.at({"a": "a" * 262_144 + "b"}) is True


def test_a_text_that_is_none_is_not_told() -> None:
    """Half a character, which the engine refuses, is nothing that a look speaks of."""
    (look,) = found(policy('context.a like "*"')) or ()
    assert seen((look,), {"a": "\ud800"}) is None
