"""Arguments as policy sees them."""

import json
from typing import Any

import cedarpy
import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from policy.arguments import MAX_OPAQUE_BYTES, JsonSchema, Kind, to_context, translate
from policy.bundle import Bundle
from policy.contexts import call_context
from policy.entity_store import EntityStore
from policy.errors import ArgumentsError, SchemaError
from policy.pdp import PDP, Question, ReasonCode
from policy.schema import compose, load_base, parse_schema
from policy.statements import PolicyRef
from tests.policy.world import entities, facts, pdp, uid

I64 = st.integers(-(2**63), 2**63 - 1)
NAMES = st.from_regex(r"(?!__)[A-Za-z_][A-Za-z0-9_-]{0,5}", fullmatch=True) | st.sampled_from(
    ["in", "has", "like", "if", "true", "type", "id", "fn", "arg", "json", "principal", "is"]
)
Pair = tuple[dict[str, Any], Any]


def _array(items: st.SearchStrategy[Pair]) -> st.SearchStrategy[Pair]:
    return items.map(lambda item: ({"type": "array", "items": item[0]}, [item[1], item[1]]))


def _object(items: st.SearchStrategy[Pair]) -> st.SearchStrategy[Pair]:
    def build(parts: dict[str, tuple[Pair, bool, bool]]) -> Pair:
        schema = {
            "type": "object",
            "additionalProperties": False,
            "properties": {name: pair[0] for name, (pair, _, _) in parts.items()},
            "required": [name for name, (_, required, _) in parts.items() if required],
        }
        value = {n: pair[1] for n, (pair, required, there) in parts.items() if required or there}
        return schema, value

    return st.dictionaries(NAMES, st.tuples(items, st.booleans(), st.booleans()), max_size=4).map(
        build
    )


LEAF: st.SearchStrategy[Pair] = st.one_of(
    st.text().map(lambda value: ({"type": "string", "minLength": 0}, value)),
    st.text().map(lambda value: ({"enum": [value, "other"]}, value)),
    I64.map(lambda value: ({"type": "integer", "description": "n"}, value)),
    st.booleans().map(lambda value: ({"type": "boolean"}, value)),
)
PAIRS = _object(st.recursive(LEAF, lambda inner: _array(inner) | _object(inner), max_leaves=6))


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(PAIRS, st.sampled_from(["run_shell", "in", "like", "has", "a1_"]))
def test_every_valid_value_of_a_translatable_schema_is_a_cedar_request(
    pair: Pair, tool: str
) -> None:
    """What the JSON Schema accepts, the Cedar schema accepts: no tool is unusable by accident."""
    schema, value = pair
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(value, schema)
    translation = translate(schema)
    assert translation.kind is Kind.TYPED, translation.reason
    bundle = Bundle.build(
        {"a.cedar": 'permit (principal, action == Action::"call", resource);'},
        compose(load_base(), {tool: schema}),
    )
    point = PDP(bundle, EntityStore.build(entities(), bundle.schema))
    context = {**call_context(facts()), "arguments": to_context(tool, translation, value)}
    asked = Question(uid("Device::dev-callers"), "call", uid("Tool::run_shell"), context)
    decision = point.decide(asked)
    assert decision.allowed, decision.errors


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
KEYWORDS = st.sampled_from(
    ["type", "properties", "required", "items", "enum", "additionalProperties", "$ref", "anyOf"]
)


@given(st.dictionaries(KEYWORDS | st.text(max_size=3), JSON | st.just("object"), max_size=5))
def test_any_schema_has_a_translation_that_composes(schema: JsonSchema) -> None:
    """Whatever a tool declares, the composed schema parses."""
    assert translate(schema).reason
    parse_schema(compose(load_base(), {"tool": schema}))


@given(st.dictionaries(NAMES, JSON, max_size=3))
def test_any_arguments_give_a_value_or_a_code(arguments: dict[str, object]) -> None:
    """No other exception escapes, and what comes out is JSON."""
    schema = {"type": "object", "properties": {"in": {"type": "string"}}}
    for given_schema in (schema, {}):
        try:
            context = to_context("t", translate(given_schema), arguments)
        except ArgumentsError as refused:
            assert refused.code  # noqa: PT017 - either outcome is right
        else:
            json.dumps(context, allow_nan=False)


STRING = {"type": "string"}


def tool_schema(**properties: object) -> dict[str, object]:
    return {"type": "object", "properties": properties}


@pytest.mark.parametrize(
    ("schema", "why"),
    [
        ({}, "not of type object"),
        ({"type": "object"}, "no `properties`"),
        ({"type": ["object", "null"], "properties": {}}, "not of type object"),
        (tool_schema(a={"type": "number"}), "number"),
        (tool_schema(a={"type": ["string", "null"]}), "no Cedar type"),
        (tool_schema(a={}), "no Cedar type"),
        (tool_schema(a=True), "not described"),
        (tool_schema(a={"enum": ["x", 1]}), "no Cedar type"),
        (tool_schema(a={"type": "string", "$ref": "#/x"}), "$ref"),
        (tool_schema(a={"anyOf": [STRING]}), "no Cedar type"),
        (tool_schema(a={"type": "array"}), "not described"),
        (tool_schema(a={"type": "array", "items": STRING, "prefixItems": []}), "prefixItems"),
        (tool_schema(a={"type": "object", "properties": {}}), "additionalProperties"),
        ({**tool_schema(a=STRING), "additionalProperties": True}, "additionalProperties"),
        ({**tool_schema(a=STRING), "additionalProperties": STRING}, "additionalProperties"),
        ({**tool_schema(a=STRING), "patternProperties": {}}, "patternProperties"),
        ({**tool_schema(a=STRING), "required": ["b"]}, "does not describe"),
        ({**tool_schema(a=STRING), "required": [[]]}, "no Cedar attribute"),
        (tool_schema(__entity=STRING), "__entity"),
        (tool_schema(__extn=STRING), "__extn"),
        (tool_schema(**{"a b": STRING}), "a b"),
        (tool_schema(**{'"': STRING}), "no Cedar attribute"),
        (tool_schema(**{f"a{n}": STRING for n in range(200)}), "more than"),
    ],
)
def test_what_has_no_exact_type_is_opaque_and_says_why(schema: JsonSchema, why: str) -> None:
    """A schema beyond Cedar's types is not half translated."""
    translation = translate(schema)
    assert translation.kind is Kind.OPAQUE
    assert why in translation.reason


def test_deep_schemas_are_opaque() -> None:
    """Nesting without end neither recurses here nor in the engine."""
    schema: dict[str, object] = {"type": "string"}
    for _ in range(5000):
        schema = {"type": "array", "items": schema}
    assert translate(tool_schema(a=schema)).kind is Kind.OPAQUE


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (2**63, "INTEGER_OUT_OF_RANGE"),
        (-(2**63) - 1, "INTEGER_OUT_OF_RANGE"),
        (1.0, "FLOAT_ARGUMENT"),
        (float("nan"), "FLOAT_ARGUMENT"),
        (True, "WRONG_TYPE"),
        ("1", "WRONG_TYPE"),
        (None, "WRONG_TYPE"),
        ({"__extn": {"fn": "decimal", "arg": "1.0"}}, "WRONG_TYPE"),
    ],
)
def test_what_is_no_64_bit_integer_is_refused(value: object, code: str) -> None:
    """Cedar's Long holds the same number or nothing; true is not 1."""
    with pytest.raises(ArgumentsError) as caught:
        to_context("t", translate(tool_schema(n={"type": "integer"})), {"n": value})
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({}, "MISSING_ARGUMENT"),
        ({"s": "x", "more": 1}, "UNKNOWN_ARGUMENT"),
        ({"s": "\ud800"}, "NOT_UNICODE"),
        ({"s": {"__entity": {"type": "Tool", "id": "x"}}}, "WRONG_TYPE"),
        ({"s": "x", "__extn": 1}, "UNKNOWN_ARGUMENT"),
        ([], "WRONG_TYPE"),
    ],
)
def test_arguments_beside_the_schema_are_refused(arguments: Any, code: str) -> None:
    """Cedar's escapes, lone surrogates, unknown and missing names never reach the engine."""
    schema = {**tool_schema(s=STRING), "required": ["s"]}
    with pytest.raises(ArgumentsError) as caught:
        to_context("t", translate(schema), arguments)
    assert caught.value.code == code
    assert caught.value.fix


def test_opaque_arguments_are_canonical_json() -> None:
    """Order of keys and escapes of the sender do not matter to a policy that matches text."""
    arguments = json.loads('{"b": "\\u0073udo", "a": [1, 1.0]}')
    assert to_context("t", translate({}), arguments) == {"t": {"json": '{"a":[1,1],"b":"sudo"}'}}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"a": "x" * MAX_OPAQUE_BYTES}, "ARGUMENTS_TOO_LARGE"),
        ({"a": 2**60}, "NOT_CANONICAL"),
        ({"a": float("nan")}, "NOT_CANONICAL"),
        ({"a": "\ud800"}, "NOT_CANONICAL"),
        ({"a": {1, 2}}, "NOT_CANONICAL"),
    ],
)
def test_opaque_arguments_without_one_form_are_refused(arguments: Any, code: str) -> None:
    """What has no canonical JSON, or too much of it, is an error."""
    with pytest.raises(ArgumentsError) as caught:
        to_context("t", translate({}), arguments)
    assert caught.value.code == code


def test_deep_opaque_arguments_are_refused() -> None:
    """Nesting that exhausts the stack is an error with a code."""
    deep: object = 1
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ArgumentsError):
        to_context("t", translate({}), {"a": deep})


def test_a_policy_reads_one_tool_s_argument() -> None:
    """The form that the documentation promises: `has tool.name` and then its value."""
    point = pdp(
        "permit (principal, action, resource);"
        '@id("no-sudo") forbid (principal, action == Action::"call", resource) when {'
        " context.arguments has run_shell.command &&"
        ' context.arguments.run_shell.command like "*sudo*" };'
    )
    for command, allowed in (("ls", True), ("sudo ls", False)):
        context = call_context(facts("run_shell", {"command": command}))
        asked = Question(uid("Device::dev-callers"), "call", uid("Tool::run_shell"), context)
        decision = point.decide(asked)
        assert decision.allowed is allowed
        if not allowed:
            assert decision.code is ReasonCode.FORBIDDEN
            assert decision.reasons == (PolicyRef("no-sudo", "test.cedar", 1),)


@pytest.mark.parametrize(
    "name", ["", "Run", "a b", 'a"', "9a", "a-b", "é", "a" * 64, "a\n", "a}; entity X"]
)
def test_a_tool_name_cannot_write_schema(name: str) -> None:
    """A name outside the grammar is refused before it becomes text of a schema."""
    with pytest.raises(SchemaError) as caught:
        compose(load_base(), {name: {}})
    assert caught.value.code == "BAD_TOOL_NAME"


def test_compose_is_a_function_of_the_set() -> None:
    """The order in which tools were found changes no digest."""
    tools = {"b": {}, "a": tool_schema(x=STRING)}
    assert compose(load_base(), tools) == compose(load_base(), dict(reversed(tools.items())))
    assert compose(load_base(), {}) == load_base()


@pytest.mark.parametrize("base", ["", "entity A;", load_base() + "type Arguments = {};\n"])
def test_compose_needs_its_one_slot(base: str) -> None:
    """A base without the place for arguments, or with two, is refused."""
    with pytest.raises(SchemaError):
        compose(base, {})


def test_too_many_tools_are_refused() -> None:
    """The number of tools in a schema is capped."""
    with pytest.raises(SchemaError):
        compose(load_base(), {f"t{n}": {} for n in range(2000)})


def test_the_schema_shipped_parses() -> None:
    """The package data is a schema."""
    assert isinstance(parse_schema(load_base()).handle, cedarpy.Schema)
