"""The arguments of a call: strict JSON in, one canonical form and one digest out, then the schema.

Trusted to give a call's arguments one meaning before anything is decided about them: what is
digested, approved and run is the canonical form (RFC 8785) of a value that ``strict_json`` let
through. ``validate`` then holds the value to the tool's schema. Neither ever shows a value: errors
carry positions, pointers and rules, and the parsed arguments keep out of ``repr``.

Errors: ``ArgumentsError``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NewType

import rfc8785

from daemon.tools.errors import ArgumentsError, Reason
from daemon.tools.registry import Tool
from daemon.tools.strict_json import Fault, JsonError, JsonLimits, JsonValue, parse_json
from ledger import canonical
from ledger.errors import ReceiptError

ArgumentsDigest = NewType("ArgumentsDigest", str)

DOMAIN = b"stockade.arguments.v1\0"

_REASONS = {
    Fault.TOO_LARGE: Reason.ARGUMENTS_TOO_LARGE,
    Fault.TOO_DEEP: Reason.ARGUMENTS_TOO_DEEP,
    Fault.DUPLICATE_KEY: Reason.ARGUMENTS_DUPLICATE_KEY,
    Fault.MALFORMED: Reason.ARGUMENTS_MALFORMED,
}
# The rules of JSON Schema that are broken most, in words.
_RULES = {
    "required": "is missing",
    "additionalProperties": "has a name that the schema does not know",
    "type": "is of another type",
    "pattern": "has not the form that the schema asks for",
    "enum": "is none of the values that it may have",
}


@dataclass(frozen=True, slots=True)
class ParsedArguments:
    """Arguments that are strict JSON; not yet known to fit any tool."""

    value: Mapping[str, JsonValue] = field(repr=False)
    canonical: bytes = field(repr=False)
    digest: ArgumentsDigest


def parse_arguments(raw: bytes, limits: JsonLimits = JsonLimits()) -> ParsedArguments:  # noqa: B008
    """Parse what a client sent; the top level must be an object."""
    try:
        value = parse_json(raw, limits)
    except JsonError as error:
        raise ArgumentsError(
            _REASONS[error.fault],
            f"the arguments are refused: {error.message}",
            "Send one JSON object (RFC 8259, I-JSON numbers) within the limits.",
        ) from None
    if not isinstance(value, dict):
        raise ArgumentsError(
            Reason.ARGUMENTS_MALFORMED,
            "the arguments are refused: not an object",
            "Send one JSON object, {} if there are no arguments.",
        )
    encoded = canonical_form(value)
    if len(encoded) > limits.max_bytes:  # numbers may be longer in it; and it is parsed again
        raise ArgumentsError(
            Reason.ARGUMENTS_TOO_LARGE,
            f"the arguments are refused: in canonical form more than {limits.max_bytes} bytes",
            "Send less, or write its numbers out.",
        )
    digest = hashlib.sha256(DOMAIN + encoded).hexdigest()
    return ParsedArguments(value, encoded, ArgumentsDigest(digest))


def canonical_form(value: dict[str, JsonValue]) -> bytes:
    """RFC 8785: by the ledger's encoder, which is fast and has no floats, or else by the library.

    Where both can encode a value, a test of the ledger holds them to the same bytes.
    """
    try:
        return canonical.encode(value)
    except ReceiptError:
        return rfc8785.dumps(value)


def validate(tool: Tool, arguments: ParsedArguments) -> None:
    """Hold arguments to the tool's schema, or raise with every rule they break (up to a few)."""
    schema = tool.manifest.input
    violations = schema.violations(dict(arguments.value))
    if not violations:
        return
    broken = ", ".join(f"{v.pointer or '/'} {_broken(v.rule)}" for v in violations)
    raise ArgumentsError(
        Reason.ARGUMENTS_INVALID,
        f"the arguments do not fit {tool.name}: {broken}",
        f"it takes {', '.join(schema.names) or 'none'}: `stockade tools show {tool.name}`",
        violations,
    )


def _broken(rule: str) -> str:
    return _RULES.get(rule, f"breaks the schema's rule {rule}")
