"""Strict JSON, one canonical form, and arguments held to a schema."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.tools.arguments import parse_arguments, validate
from daemon.tools.errors import ArgumentsError, Reason
from daemon.tools.strict_json import MAX_NUMBER, JsonLimits
from tests.daemon.tools.support import MINIMAL, as_tool, uploaded

numbers = st.integers(-MAX_NUMBER, MAX_NUMBER) | st.floats(-MAX_NUMBER, MAX_NUMBER, allow_nan=False)
texts = st.text(st.characters(codec="utf-8"), max_size=12)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(texts, values, max_size=5)


def refused(raw: bytes, limits: JsonLimits | None = None) -> ArgumentsError:
    with pytest.raises(ArgumentsError) as caught:
        parse_arguments(raw, limits or JsonLimits())
    assert caught.value.fix
    return caught.value


def typed(value: Any) -> Any:
    """A value with its types beside it, since 1 == 1.0 == True."""
    if isinstance(value, list):
        return [typed(item) for item in value]
    if isinstance(value, dict):
        return {key: typed(item) for key, item in value.items()}
    return type(value), value


@given(objects)
def test_the_canonical_form_means_the_same(value: dict[str, Any]) -> None:
    """parse(canonical(x)) is x, types included, and its canonical form is itself."""
    once = parse_arguments(json.dumps(value).encode())
    again = parse_arguments(once.canonical)
    assert once.value == value
    assert typed(again.value) == typed(once.value)
    assert (again.canonical, again.digest) == (once.canonical, once.digest)


@given(objects, st.randoms(use_true_random=False))
def test_spelling_does_not_change_the_digest(value: dict[str, Any], random: Any) -> None:
    """Order of keys, white space and escapes do not make another call."""
    shuffled = list(value.items())
    random.shuffle(shuffled)
    one = json.dumps(value, indent=1, ensure_ascii=False).encode()
    other = json.dumps(dict(shuffled), ensure_ascii=True).encode()
    assert parse_arguments(one).digest == parse_arguments(other).digest


@given(objects, objects)
def test_another_value_has_another_digest(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Two calls share a digest only if their arguments are the same value."""
    left, right = (parse_arguments(json.dumps(v).encode()) for v in (one, other))
    assert (left.digest == right.digest) == (typed(left.value) == typed(right.value))


@pytest.mark.parametrize("number", ["1", "1.0", "1e0", "10e-1", "0.1E1"])
def test_an_integral_number_is_an_integer_however_it_is_spelled(number: str) -> None:
    """One number has one form: what is validated is what is digested and run."""
    found = parse_arguments(f'{{"n":{number}}}'.encode())
    assert typed(found.value) == {"n": (int, 1)}
    assert found.canonical == b'{"n":1}'


TABLE: list[tuple[bytes, Reason]] = [
    (b"", Reason.ARGUMENTS_MALFORMED),
    (b"[]", Reason.ARGUMENTS_MALFORMED),
    (b"null", Reason.ARGUMENTS_MALFORMED),
    (b'"{}"', Reason.ARGUMENTS_MALFORMED),
    (b"{}x", Reason.ARGUMENTS_MALFORMED),
    (b"{}{}", Reason.ARGUMENTS_MALFORMED),
    (b"{}\0", Reason.ARGUMENTS_MALFORMED),
    (b"\xef\xbb\xbf{}", Reason.ARGUMENTS_MALFORMED),
    (b'{"a":1,}', Reason.ARGUMENTS_MALFORMED),
    (b"{'a':1}", Reason.ARGUMENTS_MALFORMED),
    (b"{a:1}", Reason.ARGUMENTS_MALFORMED),
    (b'{"a":01}', Reason.ARGUMENTS_MALFORMED),
    (b'{"a":+1}', Reason.ARGUMENTS_MALFORMED),
    (b'{"a":.5}', Reason.ARGUMENTS_MALFORMED),
    (b'{"a":NaN}', Reason.ARGUMENTS_MALFORMED),
    (b'{"a":Infinity}', Reason.ARGUMENTS_MALFORMED),
    (b'{"a":-Infinity}', Reason.ARGUMENTS_MALFORMED),
    (b'{"a":1e999}', Reason.ARGUMENTS_MALFORMED),
    (b'{"a":9007199254740992}', Reason.ARGUMENTS_MALFORMED),
    (b'{"a":-9007199254740992}', Reason.ARGUMENTS_MALFORMED),
    (b'{"a":1e20}', Reason.ARGUMENTS_MALFORMED),
    (b'{"a":' + b"9" * 100_000 + b"}", Reason.ARGUMENTS_MALFORMED),
    (b'{"a":"\\ud800"}', Reason.ARGUMENTS_MALFORMED),
    (b'{"\\udc00":1}', Reason.ARGUMENTS_MALFORMED),
    (b'{"a":["\\udc00\\ud800"]}', Reason.ARGUMENTS_MALFORMED),
    (b'{"a":"\xed\xa0\x80"}', Reason.ARGUMENTS_MALFORMED),
    (b'{"a":"\xff"}', Reason.ARGUMENTS_MALFORMED),
    (b'{"a":"\xc0\x80"}', Reason.ARGUMENTS_MALFORMED),
    (b'{"a":"\n"}', Reason.ARGUMENTS_MALFORMED),
    (b'{"a":"\\x"}', Reason.ARGUMENTS_MALFORMED),
    (b'{"a":"', Reason.ARGUMENTS_MALFORMED),
    (b'{"a":1,"a":1}', Reason.ARGUMENTS_DUPLICATE_KEY),
    (b'{"a":1,"\\u0061":2}', Reason.ARGUMENTS_DUPLICATE_KEY),
    (b'{"x":[{"a":1,"a":2}]}', Reason.ARGUMENTS_DUPLICATE_KEY),
    (b'{"a":' + b"[" * 32 + b"]" * 32 + b"}", Reason.ARGUMENTS_TOO_DEEP),
    (b'{"\\\\":' + b"[" * 32 + b"]" * 32 + b"}", Reason.ARGUMENTS_TOO_DEEP),
    (b'{"\\\\\\"":' + b"[" * 32 + b"]" * 32 + b"}", Reason.ARGUMENTS_TOO_DEEP),
    (b"[" * 9_000, Reason.ARGUMENTS_TOO_DEEP),
    (b'{"a":' * 9_000, Reason.ARGUMENTS_TOO_DEEP),
    (b"[" * 900_000, Reason.ARGUMENTS_TOO_LARGE),
    (b'{"a":[' + b"1," * 20_000 + b"1]}", Reason.ARGUMENTS_TOO_LARGE),
    (b'{"a":"' + b"x" * 1024 * 1024 + b'"}', Reason.ARGUMENTS_TOO_LARGE),
    (b'{"n":1e15,"a":"' + b"x" * (1024 * 1024 - 20) + b'"}', Reason.ARGUMENTS_TOO_LARGE),
]


@pytest.mark.parametrize(("raw", "code"), TABLE, ids=lambda p: str(p)[:30])
def test_what_is_not_strict_json_is_refused(raw: bytes, code: Reason) -> None:
    """Each way two readers could differ over a text is refused under its code, quickly."""
    started = time.thread_time()
    assert refused(raw).code is code
    assert time.thread_time() - started < 5


@pytest.mark.parametrize(
    "raw",
    [
        b'{"a":' + b"[" * 31 + b"]" * 31 + b"}",
        b'{"a":"' + b"[{" * 20_000 + b'"}',
        b'{"a":"\\"' + b"[" * 20_000 + b'"}',
        b'{"a":"' + b"," * 20_000 + b'"}',
        b'{"a":["\\ud83d\\ude00"]}',
        b' \t\r\n{"":"\x7f"} ',
        b'{"a":[' + b"[]," * 4_000 + b"[]]}",
    ],
    ids=lambda p: str(p)[:30],
)
def test_what_only_looks_deep_or_large_is_taken(raw: bytes) -> None:
    """Brackets and commas inside strings are text; depth 32 itself is allowed."""
    parse_arguments(raw)


@given(
    st.binary(max_size=60) | st.text(alphabet='{}[]",:\\ue1-.0nul ', max_size=40).map(str.encode)
)
def test_no_other_exception_leaves_the_parser(raw: bytes) -> None:
    """Whatever the bytes, they are parsed as Python's own reader would, or refused by code."""
    try:
        found = parse_arguments(raw)
    except ArgumentsError:
        return
    assert found.value == json.loads(raw)


@given(st.integers(0, 6), st.integers(0, 40))
def test_the_limits_are_the_callers(depth: int, count: int) -> None:
    """Depth and number of values are held to exactly the limits given."""
    limits = JsonLimits(max_bytes=10_000, max_depth=4, max_values=20)
    nested = b'{"a":' + b"[" * depth + b"1" + b"]" * depth + b"}"
    flat = b'{"a":[' + b",".join([b"1"] * (count + 1)) + b"]}"
    for raw, fits in ((nested, depth <= 3), (flat, count + 2 < 20)):
        try:
            parse_arguments(raw, limits)
        except ArgumentsError:
            assert not fits
        else:
            assert fits


def test_errors_and_reprs_hold_no_value() -> None:
    """A secret in an argument appears in no error, no chained error and no repr."""
    tool = as_tool(uploaded(MINIMAL))
    texts = [b'{"text":"hunter2" x}', b'{"hunter2":1,"hunter2":2}', b'{"text":"hunter2\\q"}']
    for raw in texts:
        error = refused(raw)
        assert error.__suppress_context__
        assert "hunter2" not in f"{error!r}{error}{error.fix}"
    parsed = parse_arguments(b'{"text":["hunter2"],"hunter2":"hunter2"}')
    with pytest.raises(ArgumentsError) as caught:
        validate(tool, parsed)
    assert "hunter2" not in f"{caught.value!r}{caught.value}{caught.value.fix}"
    assert "hunter2" not in repr(parsed)


def test_the_error_names_the_pointer_and_the_rule() -> None:
    """What does not fit is named by pointer and rule, and the fix lists the arguments."""
    tool = as_tool(uploaded(MINIMAL))
    validate(tool, parse_arguments(b'{"text":"x"}'))
    with pytest.raises(ArgumentsError) as caught:
        validate(tool, parse_arguments(b'{"texts":"x"}'))
    assert caught.value.code is Reason.ARGUMENTS_INVALID
    assert {(v.pointer, v.rule) for v in caught.value.violations} == {
        ("/text", "required"),
        ("", "additionalProperties"),
    }
    assert "/text is missing" in str(caught.value)
    assert "text" in caught.value.fix


def test_a_name_in_another_case_or_form_is_another_name() -> None:
    """An argument that differs in case or Unicode form is unknown, not the declared one."""
    tool = as_tool(uploaded(MINIMAL.replace('"text"', '"té"').replace("{text}", "x").replace(
        "properties.text", 'properties."té"')))  # fmt: skip
    validate(tool, parse_arguments('{"té":"x"}'.encode()))
    for variant in ('{"TÉ":"x"}', '{"te\u0301":"x"}', '{"té ":"x"}'):
        with pytest.raises(ArgumentsError):
            validate(tool, parse_arguments(variant.encode()))


def test_a_fraction_is_taken_only_where_the_schema_wants_one() -> None:
    """1.5 is no integer; 2.0 is the integer 2."""
    tool = as_tool(uploaded(MINIMAL.replace('type = "string"', 'type = "integer"')))
    validate(tool, parse_arguments(b'{"text":2.0}'))
    for raw in (b'{"text":1.5}', b'{"text":true}', b'{"text":"1"}'):
        with pytest.raises(ArgumentsError):
            validate(tool, parse_arguments(raw))
