"""Calls and acts that nobody has made, by somebody there is or somebody there might be.

Trusted to make of a supposition the very case that the call would be: the tool's own schema,
workspace and secrets, the risk of the tool as it is. Somebody who might be is nobody's device: it
exists for one question and is in no list. Raises `NotFound` and `BadRequest`.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from daemon.calls.hearing import Approvers, Case
from daemon.calls.judge import case_of, undeclared_by
from daemon.errors import BadRequest, NotFound
from daemon.identity.agent_manifest import Declared
from daemon.identity.devices import Devices
from daemon.identity.registrar import check_groups
from daemon.tools.arguments import parse_arguments, validate
from daemon.tools.errors import ToolError
from daemon.tools.registry import Tool
from daemon.world import World
from policy.entities import AgentEntity, DeviceEntity, Entity, GroupEntity, WorkspaceEntity
from policy.errors import PolicyError
from policy.values import EntityUid

MAX_APPROVERS = 16


@dataclass(frozen=True, slots=True)
class Somebody:
    """Who is meant: `name` of one there is, or the groups of one there might be."""

    name: str = ""
    groups: tuple[str, ...] = ()
    agent: bool = False


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody, found or made."""

    subjects: tuple[EntityUid, ...]
    groups: frozenset[EntityUid]
    # Only what exists for the question alone.
    entities: tuple[Entity, ...] = ()
    # What its manifest declares; None for a device, and for an agent that is supposed.
    declared: Declared | None = None


@dataclass(frozen=True, slots=True)
class Circumstances:
    """When and from where; None: as it is now."""

    time: datetime
    origin: str = ""
    maintenance: bool | None = None
    # That there are not, but are taken to be there.
    workspaces: tuple[WorkspaceEntity, ...] = ()
    # For how many seconds people have been asked.
    waited: int = 0


@dataclass(frozen=True, slots=True)
class Supposed:
    """A call that nobody has made."""

    by: Person
    tool: Tool
    case: Case
    # Why the agent gets it not, whatever policy says: a code, and what is not declared.
    undeclared: tuple[str, str] | None = None


def find(devices: Devices, world: World, who: Somebody, number: int = 1) -> Person:
    """Somebody there is, or the `number`th who might be."""
    if not who.name:
        return _made(world, who, number)
    kind, _, name = who.name.partition("/")
    if kind == "device":
        return _device(devices, world, name)
    if kind == "agent":
        return _agent(devices, world, name)
    raise BadRequest(
        f"{who.name!r:.80} is neither a device nor an agent",
        fix="write device/NAME or agent/NAME, or name groups",
    )


def suppose(
    world: World, by: Person, tool_name: str, arguments: bytes, around: Circumstances
) -> Supposed:
    """The call that this would be."""
    tool = world.registry.get(tool_name)
    if tool is None:
        raise NotFound(
            f"there is no tool {tool_name!r:.80}",
            code="UNKNOWN_TOOL",
            fix="`stockade tools list` shows what there is",
        )
    try:
        parsed = parse_arguments(arguments or b"{}")
        validate(tool, parsed)
        case = case_of(
            world,
            by.subjects,
            tool,
            parsed.value,
            origin=around.origin,
            time=around.time,
            entities=(*by.entities, *around.workspaces),
        )
        digest = hashlib.sha256(parsed.canonical).hexdigest()
        case = replace(case, arguments_digest=digest, waited=around.waited)
    except ToolError as error:
        raise BadRequest(error.message, code=str(error.code), fix=error.fix) from None
    except PolicyError as error:
        raise BadRequest(str(error), code=error.code, fix=error.fix) from None
    known = {*world.workspaces, *(workspace.id for workspace in around.workspaces)}
    if case.workspace and case.workspace not in known:
        raise NotFound(
            f"there is no workspace {case.workspace!r:.80}",
            code="UNKNOWN_WORKSPACE",
            fix="name one under [workspaces] in config.toml",
        )
    if around.maintenance is not None:
        case = replace(case, maintenance=around.maintenance)
    undeclared = by.declared and undeclared_by(world, tool, case.secrets, by.declared)
    return Supposed(by, tool, case, undeclared or None)


def approvers_of(people: Sequence[Person]) -> Approvers:
    """These people as approvers."""
    return Approvers(
        frozenset(person.subjects[0] for person in people),
        frozenset(group for person in people for group in person.groups),
    )


def together(case: Case, people: Sequence[Person]) -> Case:
    """The case, with these people in it."""
    known: Mapping[EntityUid, Entity] = {
        entity.uid: entity for one in people for entity in one.entities
    }
    own = {entity.uid: entity for entity in case.entities}
    return replace(case, entities=tuple({**own, **known}.values()))


def _made(world: World, who: Somebody, number: int) -> Person:
    names = check_groups(who.groups)
    device = DeviceEntity(f"supposed-{number}", f"supposed {number}", tuple(names))
    groups = world.groups(names)
    # Groups that nobody is in are in no store yet.
    entities: tuple[Entity, ...] = (device, *(GroupEntity(group.id) for group in groups))
    if not who.agent:
        return Person((device.uid,), groups, entities)
    agent = AgentEntity(f"supposed-{number}", f"supposed {number}", device.id)
    return Person((agent.uid, device.uid), groups, (*entities, agent))


def _device(devices: Devices, world: World, name: str) -> Person:
    found = [one for one in devices.active if name in (str(one.row.device_id), one.row.name)]
    if len(found) != 1:
        how = "more than one device is called" if found else "there is no active device"
        fix = "`stockade devices list` shows their ids"
        raise NotFound(f"{how} {name!r:.80}", code="UNKNOWN_DEVICE", fix=fix)
    uid = EntityUid("Device", str(found[0].row.device_id))
    return Person((uid,), world.groups(found[0].groups))


def _agent(devices: Devices, world: World, name: str) -> Person:
    agents = (one for one in devices.agents.all if one.active)
    found = [one for one in agents if name in (str(one.row.agent_id), one.row.name)]
    if len(found) != 1:
        how = "more than one agent is called" if found else "there is no active agent"
        fix = "`stockade agents list` shows their ids"
        raise NotFound(f"{how} {name!r:.80}", code="UNKNOWN_AGENT", fix=fix)
    [agent] = found
    device = EntityUid("Device", str(agent.row.device_id))
    known = devices.get(str(agent.row.device_id))
    uid = EntityUid("Agent", str(agent.row.agent_id))
    groups = world.groups(known.groups if known else ())
    return Person((uid, device), groups, declared=agent.identity.declared)
