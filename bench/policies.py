"""Policies, tools and devices by the thousand, as an installation that has grown has them."""

from decimal import Decimal

from policy.arguments import JsonSchema
from policy.bundle import Bundle
from policy.defaults import load_default_files
from policy.entities import DeviceEntity, Entity, ToolEntity
from policy.entity_store import EntityStore
from policy.schema import compose, load_base
from policy.statements import split

PER_FILE = 1000
TOOLS = 50
ENTITIES = 10_000
DEVICES = ENTITIES - TOOLS
# What compares arguments and times with constants, and what puts them beside something else: there
# the engine has to be asked for each. One policy more for every question.
_CALL = 'action in [Action::"call", Action::"run_in_process", Action::"call_unattended"], resource'
_PATH = "context.arguments has tool_0 && context.arguments.tool_0.path"
LOOKING = f"""@id("looking") forbid (principal, {_CALL})
when {{ {_PATH} like "*.pem" || context.clock.hour > 23 || context.time < datetime("2020-01-01") }};
"""
BESIDE = f"""@id("beside") forbid (principal, {_CALL})
when {{ {_PATH} == principal.name || context.clock.epoch < context.clock.minute }};
"""
ARGUMENTS: JsonSchema = {
    "type": "object",
    "properties": {"path": {"type": "string"}},
    "required": ["path"],
}


def tool(number: int) -> str:
    """The name of a tool."""
    return f"tool_{number % TOOLS}"


def device(number: int) -> str:
    """The id of a device."""
    return f"dev-{number % DEVICES}"


def policy_files(count: int, more: str = "") -> dict[str, str]:
    """The default policies and `more`, filled up to `count` with permits of a device for a tool."""
    files = load_default_files() | ({"more.cedar": more} if more else {})
    written = sum(len(split(name, text)[0]) for name, text in files.items())
    texts = [
        f'@id("bench-{number}")\npermit (principal == Device::"{device(number)}", '
        f'action == Action::"call", resource == Tool::"{tool(number)}")\n'
        f'when {{ context.origin == "10.0.{number % 251}.7" }};\n'
        for number in range(max(0, count - written))
    ]
    for start in range(0, len(texts), PER_FILE):
        files[f"bench-{start}.cedar"] = "".join(texts[start : start + PER_FILE])
    return files


def bundle(count: int, more: str = "") -> Bundle:
    """So many policies, under a schema with all the tools."""
    schema = compose(load_base(), {tool(number): ARGUMENTS for number in range(TOOLS)})
    return Bundle.build(policy_files(count, more), schema)


def store(policies: Bundle) -> EntityStore:
    """Ten thousand entities; the devices are callers, in one further group of two hundred each."""
    entities: list[Entity] = [
        DeviceEntity(device(number), "device", ("callers", f"team-{number % 200}"))
        for number in range(DEVICES)
    ]
    entities += [
        ToolEntity(tool(number), "ab" * 32, "builtin", Decimal("0.1"), False, False, False)
        for number in range(TOOLS)
    ]
    return EntityStore.build(entities, policies.schema)
