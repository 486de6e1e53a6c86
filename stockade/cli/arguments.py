"""Arguments of a call from the command line: `k=v` typed by the tool's schema, or JSON as it is.

Types only; whether the values fit the schema is for the daemon, which records what it refuses. JSON
given whole is sent byte for byte, so that the daemon sees duplicate keys too. Raises `UsageError`.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stockade.cli.terminal import UsageError

_KINDS: Mapping[str, type | tuple[type, ...]] = {
    "string": str,
    "boolean": bool,
    "integer": int,
    "number": (int, float),
    "array": list,
    "object": dict,
    "null": type(None),
}


def whole_json(text: str) -> bytes:
    """The bytes of `--args-json`, "-" meaning standard input; they must be one JSON object."""
    data = sys.stdin.buffer.read() if text == "-" else text.encode()
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"--args-json is not JSON: {error}", fix="""pass an object, like '{"path": "a.txt"}'"""
        ) from None
    if not isinstance(value, dict):
        raise UsageError("--args-json is not an object", fix="""pass one, like '{"k": 1}'""")
    return data


def typed(pairs: Sequence[str], schema: Mapping[str, Any] | None) -> dict[str, Any]:
    """`k=v` pairs as values; without a schema (a tool that is not known) all are strings."""
    arguments: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise UsageError(f"--arg {pair!r} is not of the form k=v", fix="write --arg name=value")
        if name in arguments:
            raise UsageError(
                f"--arg {name} is given twice", fix="""pass a list as --arg 'k=["a", "b"]'"""
            )
        arguments[name] = _value(name, _read(name, text), schema)
    return arguments


def _read(name: str, text: str) -> str:
    if not text.startswith("@"):
        return text
    source = text[1:]
    try:
        data = sys.stdin.buffer.read() if source == "-" else Path(source).read_bytes()
        return data.decode()
    except OSError as error:
        raise UsageError(f"--arg {name}: {source}: {error.strerror}", fix="name a file") from None
    except UnicodeDecodeError:
        raise UsageError(
            f"--arg {name}: {source or 'standard input'} is not UTF-8 text",
            fix="arguments are JSON; encode the bytes, for example as base64",
        ) from None


def _value(name: str, text: str, schema: Mapping[str, Any] | None) -> Any:
    if schema is None:
        return text
    properties = schema.get("properties", {})
    if name not in properties:
        known = ", ".join(sorted(properties)) or "none"
        raise UsageError(f"the tool has no argument {name!r}", fix=f"its arguments: {known}")
    kinds = _kinds(properties[name])
    if not kinds or "string" in kinds:
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text
    if not any(_is(kind, value) for kind in kinds):
        raise UsageError(
            f"--arg {name}: {text!r} is not of type {' or '.join(kinds)}", fix=_hint(kinds[0])
        )
    return value


def _kinds(declared: Any) -> list[str]:
    """The JSON types a property may have, as far as its schema says so plainly."""
    if not isinstance(declared, dict):
        return []
    kinds = declared.get("type", [])
    listed = [kinds] if isinstance(kinds, str) else kinds
    if not listed and isinstance(declared.get("enum"), list):
        listed = [kind for kind in _KINDS if any(_is(kind, value) for value in declared["enum"])]
    return [kind for kind in listed if kind in _KINDS]


def _is(kind: str, value: Any) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _KINDS[kind])


def _hint(kind: str) -> str:
    return {
        "boolean": "write true or false",
        "integer": "write a whole number, like 3",
        "number": "write a number, like 3 or 0.5",
        "array": """write a JSON list, like '["a", "b"]'""",
        "object": """write a JSON object, like '{"k": 1}'""",
    }.get(kind, "write null")
