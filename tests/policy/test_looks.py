"""What a policy can tell apart of a context: what looks the same to it has the same answer.

The engine is asked without a schema here, so that values of every type meet comparisons of every
kind, and errors are as frequent as answers.
"""

import json
from collections.abc import Mapping
from itertools import product

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
        | st.lists(st.sampled_from(("a", "b", "ab", "c")), max_size=3)
        | st.lists(st.integers(0, 2), max_size=3)
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
MANY = st.sampled_from(("containsAny", "containsAll"))
SETS = (
    st.lists(st.sampled_from(('"a"', '"b"', '"ab"')), max_size=3)
    | st.lists(st.sampled_from(("1", "2", "true", '"a"')), max_size=3)
).map(lambda some: f"[{', '.join(some)}]")
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
    PATHS.map(lambda path: f"{path}.isEmpty()"),
    st.tuples(PATHS, SETS, MANY).map(lambda three: f"{three[0]}.{three[2]}({three[1]})"),
    st.tuples(PATHS, SETS, MANY).map(lambda three: f"{three[1]}.{three[2]}({three[0]})"),
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
    return None if looks is None else tuple(sorted(looks, key=repr))


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


def extension(text: str) -> object:
    """A time, as a context has it."""
    return {"__extn": {"fn": "datetime", "arg": text}}


ORDERS = st.sampled_from(("==", "<", "<=", ">", ">="))
FEW = st.lists(st.sampled_from(("a", "b", "ab")), max_size=3)
SOME = st.lists(st.sampled_from(('"a"', '"b"', '"ab"')), min_size=1, max_size=3).map(
    lambda some: f"[{', '.join(some)}]"
)
SMALL = st.integers(-2, 2)
PATTERN = st.lists(st.sampled_from(("*", "\\*", "a", "b", "ab")), max_size=5).map("".join)
MOMENTS = st.sampled_from(DATES[:3])


Texts = st.SearchStrategy[str]


def both_ways(signs: Texts, others: Texts) -> Texts:
    """A comparison with the value on either side."""
    sides = st.sampled_from(("context.a {} {}", "{1} {0} context.a"))
    return st.tuples(sides, signs, others).map(lambda three: three[0].format(*three[1:]))


TIMES = MOMENTS.map(lambda one: f'datetime("{one}")')


# Values of one type, and comparisons that are made of such.
FAMILIES: Mapping[str, tuple[st.SearchStrategy[object], st.SearchStrategy[str]]] = {
    "like": (st.text("ab*", max_size=6), PATTERN.map(lambda text: f'context.a like "{text}"')),
    "text": (st.sampled_from("ab"), both_ways(st.just("=="), st.sampled_from(('"a"', '"b"')))),
    "number": (SMALL, both_ways(ORDERS, SMALL.map(str))),
    "time": (
        MOMENTS.map(extension),
        both_ways(ORDERS, MOMENTS.map(lambda one: f'datetime("{one}")')),
    ),
    "one of": (
        st.sampled_from(("a", "b", "ab")),
        SOME.map(lambda some: f"{some}.contains(context.a)"),
    ),
    "holds": (FEW, st.sampled_from("ab").map(lambda one: f'context.a.contains("{one}")')),
    "empty": (FEW, st.just("context.a.isEmpty()")),
    "meets": (FEW, st.tuples(MANY, SOME).map(lambda two: f"context.a.{two[0]}({two[1]})")),
    "met": (FEW, st.tuples(MANY, SOME).map(lambda two: f"{two[1]}.{two[0]}(context.a)")),
    "has": (
        st.dictionaries(st.sampled_from("ab"), st.just({"a": 1}), max_size=2),
        st.sampled_from(("a", "b", "a.a", "a.b")).map(lambda names: f"context.a has {names}"),
    ),
}


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=60)
@given(st.data())
def test_a_look_makes_out_what_the_engine_says(family: str, data: st.DataObject) -> None:
    """A comparison with a constant is the same yes or no to both; of nothing, an error to both."""
    values, conditions = FAMILIES[family]
    text = policy(data.draw(conditions))
    looks = found(text)
    assert looks
    for value in data.draw(st.lists(values, min_size=4, max_size=4)):
        decision, _, errors = asked(text, {"a": value})
        made_out = seen(looks, {"a": value})
        assert not errors
        assert made_out is not None
        if len(looks) == 1:
            assert made_out == (decision is cedarpy.Decision.Allow,)
    absent = seen(looks, {"t": 1})
    assert absent is not None
    assert set(absent) == {Absent.HERE}
    assert asked(text, {"t": 1})[2] == 1


def test_what_there_is_not_is_no_no() -> None:
    """To the policy it is an error, where a value that does not fit would be a no."""
    text = policy('context.a == "a" || true')
    (look,) = found(text) or ()
    assert seen((look,), {}) != seen((look,), {"a": "b"})
    assert asked(text, {}) != asked(text, {"a": "b"})


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
        '["a"].containsAny([context.a])',
        '[context.a, "b"].containsAll(["a"])',
        '["a"].containsAll(principal.s)  && context.a == context.t',
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


def test_every_short_pattern_fits_what_the_engine_says_it_fits() -> None:
    """Pieces that overlap, that come twice, stars side by side: all patterns, all texts."""
    texts = ["".join(some) for length in range(5) for some in product("ab", repeat=length)]
    requests = [{**REQUEST, "context": json.dumps({"a": text})} for text in texts]
    for length in range(6):
        for pattern in product(("*", "a", "b"), repeat=length):
            policies = policy(f'context.a like "{"".join(pattern)}"')
            (look,) = found(policies) or ()
            answers = cedarpy.is_authorized_batch(requests, policies, "[]")
            assert [look.at({"a": text}) for text in texts] == [one.allowed for one in answers]


def test_a_pattern_takes_no_longer_for_its_stars() -> None:
    """Many stars against a long text that nearly fits are over at once: no way is tried twice."""
    (look,) = found(policy('context.a like "' + "a*" * 24 + 'b"')) or ()
    assert look.at({"a": "a" * 262_144}) is False
    assert look.at({"a": "a" * 262_144 + "b"}) is True


def test_a_text_that_is_none_is_not_told() -> None:
    """Half a character, which the engine refuses, is nothing that a look speaks of."""
    (look,) = found(policy('context.a like "*"')) or ()
    assert seen((look,), {"a": "\ud800"}) is None
