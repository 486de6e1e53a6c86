"""What a tool's input schema may say: JSON Schema 2020-12, held to what is enforced and bounded.

Trusted to turn a manifest's schema into one whose every rule is understood, which reaches nothing
outside itself and which costs no more than its size says. Every keyword is one of a list: a
misspelt or unenforced keyword would be a rule that is not there. A ``$ref`` may only name a
definition of the same schema and is replaced by it, so nothing is ever fetched, a definition that
contains itself is refused, and definitions that multiply each other are counted as what they
expand to.

An object reached from the root through ``properties``, ``items`` and ``prefixItems`` is closed
(``additionalProperties: false``) unless the schema says otherwise. Under ``not``, ``anyOf`` and
their like nothing is added, since there it could turn a refusal into a pass.

Errors: ``InputSchemaError``, with a JSON pointer into the schema.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import TypeAlias

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

from daemon.tools.errors import Reason
from daemon.tools.pattern import PatternError, compile_pattern
from daemon.tools.strict_json import MAX_NUMBER, JsonValue

DIALECT = "https://json-schema.org/draft/2020-12/schema"
FORMATS = ("date", "ipv4", "ipv6", "uuid")  # those the standard library can enforce
MAX_DEPTH = 32
MAX_NODES = 2_000  # values, and subschemas counted again for every use of a definition

JsonObject: TypeAlias = dict[str, JsonValue]

_ONE = frozenset(
    ("additionalProperties", "contains", "else", "if", "items", "not", "propertyNames", "then")
)
_MANY = frozenset(("allOf", "anyOf", "oneOf", "prefixItems"))
_NAMED = frozenset(("dependentSchemas", "properties"))
_PLAIN = frozenset[str]().union(
    ("type", "enum", "const", "required", "dependentRequired"),
    ("minLength", "maxLength", "pattern", "format"),
    ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    ("minItems", "maxItems", "minContains", "maxContains", "uniqueItems"),
    ("minProperties", "maxProperties"),
    (
        "$comment",
        "default",
        "deprecated",
        "description",
        "examples",
        "readOnly",
        "title",
        "writeOnly",
    ),
)


class InputSchemaError(Exception):
    """A schema that is refused: where in it, why, under which code."""

    def __init__(self, pointer: str, reason: str, code: Reason) -> None:
        super().__init__(f"{pointer or '/'}: {reason}")
        self.pointer = pointer
        self.reason = reason
        self.code = code


def settle_schema(raw: object) -> JsonObject:
    """Check a schema and return the effective one: no references, closed objects."""
    plain = _Plain().copy(raw, "", 0)
    if not isinstance(plain, dict):
        raise InputSchemaError("", "must be a table", Reason.SCHEMA_INVALID)
    declared = plain.pop("$schema", DIALECT)
    if declared != DIALECT:
        raise InputSchemaError("/$schema", f"must be {DIALECT}", Reason.SCHEMA_UNSUPPORTED)
    _check_against_dialect(plain)
    settled = _Settler(plain).settle(plain, "", ())
    if not isinstance(settled, dict) or settled.get("type") != "object":
        raise InputSchemaError("/type", 'must be "object"', Reason.SCHEMA_INVALID)
    settled.setdefault("properties", {})
    _close(settled)
    return settled


def pointer_to(parent: str, *steps: str | int) -> str:
    """The JSON pointer (RFC 6901) of something below another."""
    escaped = (str(step).replace("~", "~0").replace("/", "~1") for step in steps)
    return "".join((parent, *(f"/{step}" for step in escaped)))


def _check_against_dialect(plain: JsonObject) -> None:
    try:
        # Without format checks: those would compile the patterns with Python's engine.
        Draft202012Validator.check_schema(plain, format_checker=None)  # type: ignore[arg-type]
    except SchemaError as error:
        pointer = pointer_to("", *error.absolute_path)
        reason = f"not a valid JSON Schema (rule {error.validator!s})"
        raise InputSchemaError(pointer, reason, Reason.SCHEMA_INVALID) from None


class _Plain:
    """Copies what TOML or JSON gave into plain JSON values, bounded in depth and number."""

    def __init__(self) -> None:
        self._nodes = 0

    def copy(self, value: object, pointer: str, depth: int) -> JsonValue:
        self._nodes += 1
        if self._nodes > MAX_NODES or depth > MAX_DEPTH:
            limit = f"more than {MAX_NODES} values or {MAX_DEPTH} levels"
            raise InputSchemaError(pointer, limit, Reason.SCHEMA_TOO_LARGE)
        match value:
            case dict():
                return {
                    str(key): self.copy(item, pointer_to(pointer, str(key)), depth + 1)
                    for key, item in value.items()
                }
            case list():
                return [
                    self.copy(item, pointer_to(pointer, i), depth + 1)
                    for i, item in enumerate(value)
                ]
            case None | bool() | str():
                return value
            case _:
                return _number(value, pointer)


def _number(value: object, pointer: str) -> int | float:
    if isinstance(value, int | float | Decimal):
        number = float(value)
        if math.isfinite(number) and abs(number) <= MAX_NUMBER:
            return int(value) if number.is_integer() else number
    raise InputSchemaError(pointer, "not a JSON value in range", Reason.SCHEMA_INVALID)


class _Settler:
    """Walks every subschema once per use: known keywords only, references replaced."""

    def __init__(self, root: JsonObject) -> None:
        definitions = root.get("$defs", {})
        self._definitions = definitions if isinstance(definitions, dict) else {}
        self._nodes = 0
        self._depth = 0

    def settle(self, schema: JsonValue, pointer: str, inside: tuple[str, ...]) -> JsonValue:
        """Settle one subschema; ``inside`` names the definitions being replaced around it."""
        self._nodes += 1
        if self._nodes > MAX_NODES or self._depth > MAX_DEPTH:
            reason = f"expands to more than {MAX_NODES} subschemas or {MAX_DEPTH} levels"
            raise InputSchemaError(pointer, reason, Reason.SCHEMA_TOO_LARGE)
        if not isinstance(schema, dict):
            return schema  # true or false; the dialect allows nothing else
        self._depth += 1
        settled = self._table(schema, pointer, inside)
        self._depth -= 1
        return settled

    def _table(self, schema: JsonObject, pointer: str, inside: tuple[str, ...]) -> JsonValue:
        settled: JsonObject = {}
        for keyword, value in schema.items():
            at = pointer_to(pointer, keyword)
            if keyword not in ("$defs", "$ref"):
                settled[keyword] = self._keyword(keyword, value, at, inside)
        if "$ref" in schema:
            return self._with_target(settled, schema["$ref"], pointer, inside)
        return settled

    def _keyword(
        self, keyword: str, value: JsonValue, at: str, inside: tuple[str, ...]
    ) -> JsonValue:
        if keyword in _ONE:
            return self.settle(value, at, inside)
        if keyword in _MANY and isinstance(value, list):
            return [self.settle(v, pointer_to(at, i), inside) for i, v in enumerate(value)]
        if keyword in _NAMED and isinstance(value, dict):
            return {k: self.settle(v, pointer_to(at, k), inside) for k, v in value.items()}
        _check_plain(keyword, value, at)
        return value

    def _with_target(
        self, beside: JsonObject, reference: JsonValue, pointer: str, inside: tuple[str, ...]
    ) -> JsonValue:
        at = pointer_to(pointer, "$ref")
        prefix, _, name = str(reference).rpartition("/")
        if prefix != "#/$defs" or name not in self._definitions:
            reason = "must be #/$defs/NAME, a definition of this schema"
            raise InputSchemaError(at, reason, Reason.SCHEMA_REFERENCE)
        if name in inside:
            raise InputSchemaError(at, "a definition that contains itself", Reason.SCHEMA_REFERENCE)
        definition = pointer_to("/$defs", name)
        target = self.settle(self._definitions[name], definition, (*inside, name))
        if not beside:
            return target
        siblings = beside.get("allOf", [])
        return {**beside, "allOf": [*(siblings if isinstance(siblings, list) else []), target]}


def _check_plain(keyword: str, value: JsonValue, at: str) -> None:
    if keyword not in _PLAIN:
        raise InputSchemaError(at, "a keyword that is not enforced here", Reason.SCHEMA_UNSUPPORTED)
    if keyword == "pattern":
        try:
            compile_pattern(str(value))
        except PatternError as error:
            raise InputSchemaError(at, str(error), Reason.SCHEMA_PATTERN) from None
    if keyword == "format" and value not in FORMATS:
        reason = f"only {', '.join(FORMATS)} are enforced"
        raise InputSchemaError(at, reason, Reason.SCHEMA_UNSUPPORTED)
    if keyword == "multipleOf" and not isinstance(value, int):
        # Remainders of binary fractions are not what an author means by them.
        raise InputSchemaError(at, "must be an integer", Reason.SCHEMA_UNSUPPORTED)


def _close(schema: JsonObject) -> None:
    """Add ``additionalProperties: false`` where an object names its properties."""
    if "properties" in schema:
        schema.setdefault("additionalProperties", False)
    properties, prefix = schema.get("properties"), schema.get("prefixItems")
    below = [schema.get("items")]
    below += properties.values() if isinstance(properties, Mapping) else []
    below += prefix if isinstance(prefix, list) else []
    for subschema in below:
        if isinstance(subschema, dict):
            _close(subschema)
