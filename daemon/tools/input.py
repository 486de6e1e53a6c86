"""A compiled input schema: judges the arguments of calls, names the broken rules, shows no value.

Compiled once per tool. The validator is jsonschema's for 2020-12 with three keywords replaced:
``pattern`` (its engine backtracks), ``uniqueItems`` (its comparison is quadratic on objects) and
``required`` (so that the pointer names what is missing).

A violation names a JSON pointer and a rule. Steps of the pointer that the caller chose (keys the
schema does not declare) are shown as ``*``: a key can be a secret as well as a value can.

Errors: ``InputSchemaError`` when compiling; judging raises nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Protocol

from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError
from jsonschema.validators import extend

from daemon.tools.errors import Violation
from daemon.tools.pattern import SubjectError, compile_pattern
from daemon.tools.schema import FORMATS, pointer_to, settle_schema
from daemon.tools.strict_json import JsonValue

MAX_VIOLATIONS = 8


class _Validator(Protocol):
    def iter_errors(self, instance: Any) -> Iterator[Any]: ...


def _pattern(
    _validator: object, pattern: Any, instance: JsonValue, _schema: object
) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not compile_pattern(pattern).found_in(instance):
        yield ValidationError("pattern")


def _unique_items(
    _validator: object, wanted: Any, instance: JsonValue, _schema: object
) -> Iterator[ValidationError]:
    if wanted and isinstance(instance, list):
        texts = {json.dumps(item, sort_keys=True) for item in instance}
        if len(texts) != len(instance):
            yield ValidationError("uniqueItems")


def _required(
    _validator: object, names: Any, instance: JsonValue, _schema: object
) -> Iterator[ValidationError]:
    if isinstance(instance, dict):
        for name in names:
            if name not in instance:
                yield ValidationError("required", path=(name,))


_StrictValidator = extend(  # type: ignore[no-untyped-call] # its stub has no types
    Draft202012Validator,
    {"pattern": _pattern, "required": _required, "uniqueItems": _unique_items},
)
_FORMAT_CHECKER = FormatChecker(formats=FORMATS)


@dataclass(frozen=True, slots=True, eq=False)
class InputSchema:
    """The effective schema of a tool's arguments, and its compiled judge."""

    schema: Mapping[str, JsonValue]
    required: frozenset[str]
    _declared: frozenset[str] = field(repr=False)
    _validator: _Validator = field(repr=False)

    def argument(self, name: str) -> Mapping[str, JsonValue] | None:
        """The subschema of one top-level argument; None if there is no such argument."""
        properties = self.schema["properties"]
        found = properties.get(name) if isinstance(properties, dict) else None
        return {} if found is True else found if isinstance(found, dict) else None

    @property
    def names(self) -> tuple[str, ...]:
        """The declared top-level arguments."""
        properties = self.schema["properties"]
        return tuple(properties) if isinstance(properties, dict) else ()

    def violations(self, value: JsonValue) -> tuple[Violation, ...]:
        """The broken rules, at most ``MAX_VIOLATIONS`` of them; empty means valid."""
        errors = self._validator.iter_errors(value)
        try:
            return tuple(map(self._violation, islice(errors, MAX_VIOLATIONS)))
        except SubjectError:
            # Not a matter of one branch: under `not` or `if` it would be taken for a yes.
            return (Violation("", "pattern"),)

    def _violation(self, error: ValidationError) -> Violation:
        steps = error.absolute_path
        shown = (s if isinstance(s, int) or s in self._declared else "*" for s in steps)
        return Violation(pointer_to("", *shown), str(error.validator or "false"))


def compile_input(raw: object) -> InputSchema:
    """Check and compile the schema of a manifest."""
    schema = settle_schema(raw)
    required = schema.get("required", [])
    return InputSchema(
        schema=schema,
        required=frozenset(str(n) for n in required) if isinstance(required, list) else frozenset(),
        _declared=frozenset(_declared_names(schema)),
        _validator=_StrictValidator(schema, format_checker=_FORMAT_CHECKER),
    )


def judge(subschema: Mapping[str, JsonValue], value: JsonValue) -> bool:
    """Whether a single value, such as a default, satisfies one settled subschema."""
    checker: _Validator = _StrictValidator(dict(subschema), format_checker=_FORMAT_CHECKER)
    try:
        return next(checker.iter_errors(value), None) is None
    except SubjectError:
        return False


def _declared_names(value: JsonValue) -> Iterator[str]:
    """Every property name the schema itself writes down, wherever it does."""
    if isinstance(value, list):
        for item in value:
            yield from _declared_names(item)
    elif isinstance(value, dict):
        properties, required = value.get("properties"), value.get("required")
        yield from properties if isinstance(properties, dict) else ()
        yield from (str(name) for name in required) if isinstance(required, list) else ()
        for item in value.values():
            yield from _declared_names(item)
