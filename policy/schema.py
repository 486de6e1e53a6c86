"""The Cedar schema of the running set: the fixed part and one attribute per tool.

Trusted so that every policy and every request is checked against exactly one text. A schema that
does not parse is never used, and none is ever assumed. Leaves `SchemaError` only.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources

import cedarpy

from policy.arguments import CedarType, JsonSchema, RecordOf, Scalar, SetOf, translate
from policy.errors import SchemaError
from policy.hierarchy import ancestors
from policy.nesting import MAX_LEVELS, schema_too_deep
from policy.values import EntityUid

TOOL_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
MAX_TOOLS = 1024
_SLOT = "type Arguments = {};\n"


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema's text and the engine's handle for it. Equal if the text is."""

    text: str
    handle: cedarpy.Schema = field(compare=False, repr=False)
    groups: Mapping[EntityUid, tuple[EntityUid, ...]] = field(compare=False, repr=False)
    """Every action, and the groups it is in, near or far."""


def parse_schema(text: str) -> Schema:
    """Parses a whole schema."""
    if schema_too_deep(text):
        raise SchemaError(
            "SCHEMA_INVALID",
            f"a declaration is nested deeper than {MAX_LEVELS} levels",
            "name its parts: `type Part = {...};`",
        )
    try:
        handle = cedarpy.Schema.from_str(text, release_gil=True)
    except ValueError as error:
        raise SchemaError(
            "SCHEMA_INVALID", f"the schema does not parse: {error}", "restore the schema shipped"
        ) from None
    return Schema(text, handle, ancestors(cedarpy.Entities.from_json_str("[]", handle)))


def load_base() -> str:
    """The fixed part, as shipped in the package."""
    return resources.files("policy").joinpath("schema.cedarschema").read_text("utf-8")


def compose(base: str, tools: Mapping[str, JsonSchema]) -> str:
    """The schema in which `context.arguments` has one optional attribute per tool.

    The same tools give the same text, whatever their order.
    """
    if base.count(_SLOT) != 1:
        raise SchemaError(
            "NO_ARGUMENTS_SLOT",
            f"the schema must hold the line {_SLOT.strip()!r} once",
            "restore the schema shipped",
        )
    if len(tools) > MAX_TOOLS:
        raise SchemaError("TOO_MANY_TOOLS", f"more than {MAX_TOOLS} tools", "remove some")
    lines = []
    for name in sorted(tools):
        if not TOOL_NAME.fullmatch(name):
            raise SchemaError(
                "BAD_TOOL_NAME", f"{name!r} is no tool name", f"it must match {TOOL_NAME.pattern}"
            )
        lines.append(f"  {json.dumps(name)}?: {_render(translate(tools[name]).type)},\n")
    return base.replace(_SLOT, f"type Arguments = {{\n{''.join(lines)}}};\n" if lines else _SLOT)


def _render(kind: CedarType) -> str:
    match kind:
        case Scalar():
            # Spelled with its namespace: an entity type named String could not shadow it.
            return f"__cedar::{kind.value}"
        case SetOf(element):
            return f"Set<{_render(element)}>"
        case RecordOf(attributes):
            parts = (
                f"{json.dumps(name)}{'' if required else '?'}: {_render(inner)}"
                for name, inner, required in attributes
            )
            return f"{{{', '.join(parts)}}}"
