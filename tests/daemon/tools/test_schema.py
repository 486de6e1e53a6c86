"""What an input schema may say, and what judging by it costs and shows."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.tools.errors import Reason, Violation
from daemon.tools.input import InputSchema, compile_input
from daemon.tools.pattern import MAX_SUBJECT, PatternError, compile_pattern
from daemon.tools.schema import DIALECT, InputSchemaError, settle_schema


def closed(**properties: Any) -> InputSchema:
    return compile_input({"type": "object", "properties": properties})


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(levels):
        schema = {"type": "object", "properties": {"a": schema}}
    return schema


def doubling(levels: int) -> dict[str, Any]:
    definitions: dict[str, Any] = {"d0": {"type": "string"}}
    for i in range(levels):
        definitions[f"d{i + 1}"] = {"allOf": [{"$ref": f"#/$defs/d{i}"}] * 2}
    return {
        "type": "object",
        "$defs": definitions,
        "properties": {"a": {"$ref": f"#/$defs/d{levels}"}},
    }


def chain(length: int) -> dict[str, Any]:
    definitions = {f"d{i}": {"not": {"$ref": f"#/$defs/d{i + 1}"}} for i in range(length)}
    return {"$defs": {**definitions, f"d{length}": True}, **one({"$ref": "#/$defs/d0"})}


def one(schema: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"a": schema}}


LOOP = {
    "type": "object",
    "$defs": {"x": {"items": {"$ref": "#/$defs/x"}}},
    "items": {"$ref": "#/$defs/x"},
}

INVALID = Reason.SCHEMA_INVALID
UNSUPPORTED = Reason.SCHEMA_UNSUPPORTED
REFERENCE = Reason.SCHEMA_REFERENCE
PATTERN = Reason.SCHEMA_PATTERN
A = "/properties/a"

BAD: list[tuple[Any, str, Reason]] = [
    (True, "", INVALID),
    ([], "", INVALID),
    ({}, "/type", INVALID),
    ({"type": "array"}, "/type", INVALID),
    ({"type": ["object", "null"]}, "/type", INVALID),
    (one({"type": "strnig"}), A + "/type", INVALID),
    (one({"minLength": "1"}), A + "/minLength", INVALID),
    (one({"minLenght": 1}), A + "/minLenght", UNSUPPORTED),
    (one({"patternProperties": {"(a+)+$": True}}), A + "/patternProperties", UNSUPPORTED),
    (one({"unevaluatedProperties": False}), A + "/unevaluatedProperties", UNSUPPORTED),
    (one({"format": "email"}), A + "/format", UNSUPPORTED),
    (one({"multipleOf": 0.1}), A + "/multipleOf", UNSUPPORTED),
    (one({"$id": "https://example.org/x"}), A + "/$id", UNSUPPORTED),
    (one({"$dynamicRef": "#a"}), A + "/$dynamicRef", UNSUPPORTED),
    (one({"$schema": DIALECT}), A + "/$schema", UNSUPPORTED),
    (
        {"type": "object", "$schema": "http://json-schema.org/draft-07/schema#"},
        "/$schema",
        UNSUPPORTED,
    ),
    (one({"$ref": "https://example.org/s.json"}), A + "/$ref", REFERENCE),
    (one({"$ref": "file:///etc/passwd"}), A + "/$ref", REFERENCE),
    (one({"$ref": "other.json#/$defs/a"}), A + "/$ref", REFERENCE),
    (one({"$ref": "#"}), A + "/$ref", REFERENCE),
    (one({"$ref": "#/$defs/gone"}), A + "/$ref", REFERENCE),
    (one({"$ref": "#/properties/a"}), A + "/$ref", REFERENCE),
    (LOOP, "/$defs/x/items/$ref", REFERENCE),
    (one({"pattern": "(?=a)b"}), A + "/pattern", PATTERN),
    (one({"pattern": "(a)\\1"}), A + "/pattern", PATTERN),
    (one({"pattern": "("}), A + "/pattern", PATTERN),
    (one({"pattern": "a" * 257}), A + "/pattern", PATTERN),
    (one({"pattern": "(a{1000}){1000}"}), A + "/pattern", PATTERN),
    (one({"const": float("nan")}), A + "/const", INVALID),
    (one({"const": 2**53}), A + "/const", INVALID),
    (one({"const": b"x"}), A + "/const", INVALID),
]


@pytest.mark.parametrize(("schema", "pointer", "code"), BAD)
def test_a_bad_schema_is_refused_where_it_is_bad(schema: Any, pointer: str, code: Reason) -> None:
    """A schema that is invalid, unenforceable or reaches outside is refused with its pointer."""
    with pytest.raises(InputSchemaError) as caught:
        settle_schema(schema)
    assert (caught.value.pointer, caught.value.code) == (pointer, code), caught.value


@pytest.mark.parametrize(
    "schema",
    [
        nested(20),
        nested(2_000),
        doubling(12),
        doubling(25),
        chain(40),
        chain(900),
        one({"enum": list(range(3_000))}),
    ],
)
def test_a_deep_or_huge_schema_is_refused(schema: dict[str, Any]) -> None:
    """Depth, size and what definitions multiply to are bounded, quickly."""
    started = time.thread_time()
    with pytest.raises(InputSchemaError) as caught:
        settle_schema(schema)
    assert caught.value.code is Reason.SCHEMA_TOO_LARGE
    assert time.thread_time() - started < 10


def test_a_definition_is_used_in_place() -> None:
    """A reference is replaced by its definition, and rules beside it hold as well."""
    schema = compile_input(
        {
            "type": "object",
            "$defs": {"word": {"type": "string", "pattern": "^[a-z]+$"}},
            "properties": {
                "a": {"$ref": "#/$defs/word"},
                "b": {"$ref": "#/$defs/word", "maxLength": 2},
            },
        }
    )
    assert "$ref" not in str(schema.schema)
    assert schema.violations({"a": "x", "b": "yz"}) == ()
    assert [v.pointer for v in schema.violations({"a": "X", "b": "xyz"})] == ["/a", "/b"]


def test_unknown_arguments_are_refused_unless_the_schema_says_otherwise() -> None:
    """An object that names its properties is closed, at the top and below."""
    inner = {"type": "object", "properties": {"b": {"type": "string"}}}
    schema = closed(a=inner, c={"type": "array", "items": inner})
    assert schema.violations({"x": 1}) == (Violation("", "additionalProperties"),)
    assert schema.violations({"a": {"x": 1}}) == (Violation("/a", "additionalProperties"),)
    assert schema.violations({"c": [{"x": 1}]}) == (Violation("/c/0", "additionalProperties"),)
    assert compile_input({"type": "object"}).violations({"x": 1})
    assert not compile_input({"type": "object", "additionalProperties": True}).violations({"x": 1})


def test_closing_never_widens_a_negation() -> None:
    """Under ``not`` nothing is closed: one argument more must not turn a refusal into a pass."""
    schema = compile_input(
        {
            "type": "object",
            "additionalProperties": True,
            "not": {"properties": {"mode": {"const": "wipe"}}, "required": ["mode"]},
        }
    )
    assert schema.violations({"mode": "wipe"})
    assert schema.violations({"mode": "wipe", "extra": 1})


@pytest.mark.parametrize("bomb", ["(a+)+$", "^(a|a)*$", "(a|aa)+$", "^(([a-z])+.)+[A-Z]([a-z])+$"])
def test_a_pattern_bomb_does_not_explode(bomb: str) -> None:
    """Patterns are matched in linear time: the classic bombs answer at once."""
    schema = closed(a={"type": "string", "pattern": bomb})
    started = time.thread_time()
    assert schema.violations({"a": "a" * 4_000 + "!"})
    assert time.thread_time() - started < 5


@pytest.mark.parametrize(
    "rule",
    [
        {"pattern": "a"},
        {"not": {"pattern": "[;&|]"}},
        {"if": {"pattern": "[;&|]"}, "then": False},
        {"oneOf": [{"pattern": "[;&|]"}, {}]},
    ],
)
def test_a_string_too_long_to_be_matched_is_refused(rule: dict[str, object]) -> None:
    """A pattern is tried on bounded text; beyond that the answer is no, wherever it stands."""
    schema = closed(a={"type": "string", **rule})
    assert not schema.violations({"a": "a" * MAX_SUBJECT})
    assert schema.violations({"a": "a" * (MAX_SUBJECT + 1)}) == (Violation("", "pattern"),)


@pytest.mark.parametrize(
    ("pattern", "text", "found"),
    [
        ("^[a-z]+$", "abc\n", False),  # Python's $ would let the line feed through
        (r"^\d+$", "12", True),
        (r"^\d+$", "١٢", False),  # Unicode digits are not what ECMA-262 means
        (r"^\w+$", "naïve", False),
        (r"^[\w.-]+$", "a_b.c-d", True),
        (r"^[^\d]+$", "ab", True),
        (r"^\\d$", "\\d", True),
        ("b", "abc", True),  # JSON Schema does not anchor
    ],
)
def test_a_pattern_means_what_json_schema_says(pattern: str, text: str, found: bool) -> None:
    """Anchors, ASCII classes and escapes have their ECMA-262 meaning."""
    assert compile_pattern(pattern).found_in(text) is found


@given(st.text(max_size=40), st.text(max_size=20))
def test_any_pattern_compiles_or_is_refused(source: str, subject: str) -> None:
    """Whatever the pattern, it answers yes or no, or is a PatternError."""
    try:
        pattern = compile_pattern(source)
    except PatternError:
        return
    assert pattern.found_in(subject) in (True, False)


def test_unique_items_are_compared_in_linear_time() -> None:
    """Thousands of objects are compared without trying every pair."""
    schema = closed(a={"type": "array", "uniqueItems": True})
    started = time.thread_time()
    assert not schema.violations({"a": [{"n": i} for i in range(9_000)]})
    assert schema.violations({"a": [{"n": 1, "m": 2}, {"m": 2, "n": 1}]})
    assert not schema.violations({"a": [1, True, "1", None, False, 0]})
    assert time.thread_time() - started < 10


@pytest.mark.parametrize(
    ("form", "good", "bad"),
    [
        ("date", "2024-02-29", "2023-02-29"),
        ("ipv4", "192.0.2.1", "192.0.2.01"),
        ("ipv6", "2001:db8::1", "2001:db8::g"),
        ("uuid", "01890a5d-ac96-774b-bcce-b302099a8057", "01890a5dac96774bbcceb302099a8057"),
    ],
)
def test_an_accepted_format_is_enforced(form: str, good: str, bad: str) -> None:
    """A format that may be written down is checked."""
    schema = closed(a={"type": "string", "format": form})
    assert not schema.violations({"a": good})
    assert schema.violations({"a": bad}) == (Violation("/a", "format"),)


def test_a_violation_never_shows_a_value_or_a_callers_key() -> None:
    """Neither a value nor a key of the caller's choosing appears in what was broken."""
    schema = compile_input(
        {
            "type": "object",
            "required": ["b"],
            "properties": {"a": {"enum": ["x"]}, "b": {}},
            "additionalProperties": {"type": "integer"},
        }
    )
    broken = schema.violations({"a": "hunter2", "hunter2": "hunter2"})
    assert set(broken) == {
        Violation("/a", "enum"),
        Violation("/*", "type"),
        Violation("/b", "required"),
    }
    assert "hunter2" not in repr(broken)
