"""A call's arguments as Cedar values: typed where the tool's JSON Schema allows, else opaque text.

Trusted so that what a policy reads is what the tool gets. A typed translation is chosen only if
every value the JSON Schema allows has exactly one Cedar value of the type; the values are built
from that type, key by key, so nothing in an argument can pass for a Cedar escape (`__entity`,
`__extn`). Everything else is one String of canonical JSON (RFC 8785), size-capped. Refuses floats
where an integer belongs, integers beyond 64 bits, text that is not Unicode, unknown and missing
properties, with `ArgumentsError`; the call must then not go on.
"""

import enum
import re
from collections.abc import Mapping
from dataclasses import dataclass

import rfc8785

from policy.errors import ArgumentsError
from policy.values import CedarValue

JsonSchema = Mapping[str, object]

MAX_OPAQUE_BYTES = 256 * 1024  # a policy matches on it; the tool's own cap is larger
MAX_DEPTH = 8  # nested types; the engine's own parser is recursive
MAX_ATTRIBUTES = 128  # per tool, all levels together
_I64 = range(-(2**63), 2**63)
# "__" begins Cedar's JSON escapes; quotes and dots would need escaping in every policy.
_PROPERTY = re.compile(r"(?!__)[A-Za-z_][A-Za-z0-9_-]{0,62}")

# Keywords that say nothing of the type or only narrow it: a value valid under them still has it.
_ANNOTATIONS = frozenset(
    {"title", "description", "default", "examples", "deprecated", "readOnly", "writeOnly"}
    | {"$comment", "$schema", "$id"}
)
_NARROWING = {
    "string": frozenset({"minLength", "maxLength", "pattern", "format", "enum", "const"}),
    "integer": frozenset(
        {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "enum"}
        | {"const"}
    ),
    "boolean": frozenset({"enum", "const"}),
    "array": frozenset(
        {"items", "minItems", "maxItems", "uniqueItems", "contains", "minContains", "maxContains"}
    ),
    "object": frozenset(
        {"properties", "required", "additionalProperties", "minProperties", "maxProperties"}
        | {"dependentRequired"}
    ),
}


class Kind(enum.StrEnum):
    """How a tool's arguments reach policy."""

    TYPED = "typed"
    OPAQUE = "opaque"


class Scalar(enum.StrEnum):
    """Cedar's primitive types, by their names in a schema."""

    STRING = "String"
    LONG = "Long"
    BOOL = "Bool"


@dataclass(frozen=True, slots=True)
class SetOf:
    """A Cedar Set: duplicates and order of the array are not visible to policy."""

    element: "CedarType"


@dataclass(frozen=True, slots=True)
class RecordOf:
    """A closed Cedar record: name, type, whether it is required."""

    attributes: tuple[tuple[str, "CedarType", bool], ...]


CedarType = Scalar | SetOf | RecordOf
OPAQUE_TYPE = RecordOf((("json", Scalar.STRING, True),))


@dataclass(frozen=True, slots=True)
class Translation:
    """What a tool's arguments are in Cedar, and the rule that decided so."""

    kind: Kind
    reason: str
    type: RecordOf


class _Untranslatable(Exception):  # noqa: N818 - a control signal inside this module, not an error
    """Why a schema has no exact Cedar type."""


def translate(schema: JsonSchema) -> Translation:
    """The Cedar type of a tool's arguments. Total: any schema has at least the opaque one."""
    try:
        found = _Translator().object_type(schema, "arguments", depth=0)
    except _Untranslatable as why:
        return Translation(Kind.OPAQUE, str(why), OPAQUE_TYPE)
    return Translation(Kind.TYPED, "every property has an exact Cedar type", found)


class _Translator:
    """One walk over one schema; counts attributes on the way."""

    def __init__(self) -> None:
        self._attributes = 0

    def object_type(self, schema: JsonSchema, where: str, depth: int) -> RecordOf:
        self._check_object(schema, where, depth)
        properties, required = schema.get("properties"), schema.get("required", [])
        if not isinstance(properties, Mapping) or not isinstance(required, list):
            raise _Untranslatable(f"{where}: no `properties`")
        for name in (*properties, *required):
            if not isinstance(name, str) or not _PROPERTY.fullmatch(name):
                raise _Untranslatable(f"{where}: property {name!r:.80} is no Cedar attribute")
            if name not in properties:
                raise _Untranslatable(f"{where}: requires {name!r}, which it does not describe")
        self._attributes += len(properties)
        if self._attributes > MAX_ATTRIBUTES:
            raise _Untranslatable(f"more than {MAX_ATTRIBUTES} properties")
        attributes = []
        for name in sorted(properties):
            inner = self._type(properties[name], f"{where}.{name}", depth + 1)
            attributes.append((name, inner, name in required))
        return RecordOf(tuple(attributes))

    @staticmethod
    def _check_object(schema: JsonSchema, where: str, depth: int) -> None:
        if schema.get("type") != "object":
            raise _Untranslatable(f"{where}: is not of type object")
        _only_known(schema, "object", where)
        # `to_context` refuses a property that the schema does not name, so the outermost object
        # is closed without saying so; a nested one must say it.
        if schema.get("additionalProperties", None if depth else False) is not False:
            raise _Untranslatable(f"{where}: additionalProperties is not false")

    def _type(self, schema: object, where: str, depth: int) -> CedarType:
        if depth > MAX_DEPTH:
            raise _Untranslatable(f"nested deeper than {MAX_DEPTH}")
        if not isinstance(schema, Mapping):
            raise _Untranslatable(f"{where}: is not described by an object")
        name = _type_name(schema)
        match name:
            case "string" | "integer" | "boolean":
                _only_known(schema, name, where)
                return _SCALARS[name]
            case "array":
                _only_known(schema, name, where)
                return SetOf(self._type(schema.get("items"), f"{where}[]", depth + 1))
            case "object":
                return self.object_type(schema, where, depth)
        raise _Untranslatable(f"{where}: type {name!r:.80} has no Cedar type")


_SCALARS = {"string": Scalar.STRING, "integer": Scalar.LONG, "boolean": Scalar.BOOL}


def _type_name(schema: JsonSchema) -> object:
    """The `type`, or "string" for an enumeration of strings without one."""
    values = schema.get("enum")
    if "type" not in schema and isinstance(values, list) and values:
        return "string" if all(isinstance(value, str) for value in values) else None
    return schema.get("type")


def _only_known(schema: JsonSchema, type_name: str, where: str) -> None:
    for keyword in schema:
        if keyword != "type" and keyword not in _ANNOTATIONS | _NARROWING[type_name]:
            raise _Untranslatable(f"{where}: keyword {keyword!r:.80} is not translated")


def to_context(
    tool: str, translation: Translation, arguments: Mapping[str, object]
) -> dict[str, CedarValue]:
    """The value of `context.arguments` for a call of this tool."""
    if translation.kind is Kind.OPAQUE:
        return {tool: {"json": _canonical(arguments)}}
    return {tool: _record(translation.type, arguments, "arguments")}


def _record(expected: RecordOf, value: object, where: str) -> dict[str, CedarValue]:
    if not isinstance(value, Mapping):
        raise _refuse("WRONG_TYPE", where, "is not an object")
    known = {name for name, _, _ in expected.attributes}
    if unknown := [name for name in value if name not in known]:
        raise _refuse("UNKNOWN_ARGUMENT", where, f"has no property {unknown[0]!r:.80}")
    result: dict[str, CedarValue] = {}
    for name, inner, required in expected.attributes:
        if name in value:
            result[name] = _value(inner, value[name], f"{where}.{name}")
        elif required:
            raise _refuse("MISSING_ARGUMENT", where, f"lacks {name!r}")
    return result


def _value(expected: CedarType, value: object, where: str) -> CedarValue:
    if isinstance(expected, RecordOf):
        return _record(expected, value, where)
    if isinstance(expected, SetOf):
        if not isinstance(value, list | tuple):
            raise _refuse("WRONG_TYPE", where, "is not an array")
        return [_value(expected.element, item, f"{where}[]") for item in value]
    return _scalar(expected, value, where)


def _scalar(expected: Scalar, value: object, where: str) -> CedarValue:
    if isinstance(value, float):
        # JSON Schema calls 1.0 an integer; the tool would still get a float.
        raise _refuse("FLOAT_ARGUMENT", where, "is a floating-point number")
    if expected is Scalar.BOOL and isinstance(value, bool):
        return value
    if expected is Scalar.LONG and isinstance(value, int) and not isinstance(value, bool):
        if value not in _I64:
            raise _refuse("INTEGER_OUT_OF_RANGE", where, "does not fit 64 bits")
        return value
    if expected is Scalar.STRING and isinstance(value, str):
        if not value.isascii():
            _check_unicode(value, where)
        return value
    raise _refuse("WRONG_TYPE", where, f"is no {expected}")


def _check_unicode(value: str, where: str) -> None:
    """A lone surrogate has no UTF-8: policy and tool would see different text."""
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise _refuse("NOT_UNICODE", where, "holds a lone surrogate") from None


def _canonical(arguments: Mapping[str, object]) -> str:
    try:
        text = rfc8785.dumps({**arguments})  # type: ignore[dict-item] # it checks every value
    except (rfc8785.CanonicalizationError, ValueError, TypeError, RecursionError) as error:
        raise _refuse(
            "NOT_CANONICAL", "arguments", f"have no canonical JSON ({type(error).__name__})"
        ) from None
    if len(text) > MAX_OPAQUE_BYTES:
        raise _refuse("ARGUMENTS_TOO_LARGE", "arguments", f"exceed {MAX_OPAQUE_BYTES} bytes")
    return text.decode("utf-8")


def _refuse(code: str, where: str, what: str) -> ArgumentsError:
    # Names the place, never the value: an argument may hold what must not be logged.
    return ArgumentsError(code, f"{where} {what}", "send arguments the tool's schema describes")
