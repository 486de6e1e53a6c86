"""`stockade policy groups`, `toolsets`, `tags` and `maintenance`: what policies are told.

Entities are written KIND/NAME, as in tool/run_shell. Where a kind can be told from the command, it
need not be said.
"""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli import machine
from stockade.cli.agents import find as find_agent
from stockade.cli.devices import find as find_device
from stockade.cli.options import Json, examples, group
from stockade.cli.terminal import UsageError, note, say, table

if TYPE_CHECKING:
    from stockade.client import Client
    from stockade.v1 import policy_pb2

KINDS = {
    "agent": "Agent",
    "device": "Device",
    "group": "Group",
    "secret": "Secret",
    "tool": "Tool",
    "toolset": "Toolset",
    "workspace": "Workspace",
}

groups = group(
    "groups",
    "Put groups and agents into groups. A device's groups: `stockade devices groups`.",
    "stockade policy groups add operators night-shift",
    "stockade policy groups add robots agent/build",
)
toolsets = group(
    "toolsets",
    "Put tools and toolsets into toolsets.",
    "stockade policy toolsets add dangerous run_shell run_python",
    "stockade policy toolsets add careful toolset/dangerous",
)
tags = group(
    "tags",
    "Tag tools, devices, agents, workspaces and secrets.",
    "stockade policy tags set tool/run_shell reviewed=yes",
    "stockade policy tags unset device/phone owner",
)

Group = Annotated[str, typer.Argument(metavar="GROUP", help="What they are in.")]
GroupMembers = Annotated[
    list[str], typer.Argument(metavar="MEMBER...", help="A group's name, or agent/NAME.")
]
Toolset = Annotated[str, typer.Argument(metavar="TOOLSET", help="What they are in.")]
ToolsetMembers = Annotated[
    list[str], typer.Argument(metavar="MEMBER...", help="A tool's name, or toolset/NAME.")
]
Tagged = Annotated[str, typer.Argument(metavar="KIND/NAME", help="As in tool/run_shell.")]


@groups.command("list", epilog=examples("stockade policy groups list --json"))
def list_groups(json_: Json = False) -> None:
    """List the groups and agents that are in groups."""
    _list_memberships("Group", json_)


@groups.command("add", epilog=examples("stockade policy groups add operators night-shift"))
def add_to_group(group: Group, members: GroupMembers, json_: Json = False) -> None:
    """Put groups or agents into a group: who is in them is in it."""
    _change_memberships("join", ("Group", group), members, "Group", json_)


@groups.command("remove", epilog=examples("stockade policy groups remove robots agent/build"))
def remove_from_group(group: Group, members: GroupMembers, json_: Json = False) -> None:
    """Take groups or agents out of a group."""
    _change_memberships("leave", ("Group", group), members, "Group", json_)


@toolsets.command("list", epilog=examples("stockade policy toolsets list --json"))
def list_toolsets(json_: Json = False) -> None:
    """List the tools and toolsets that were put into toolsets."""
    _list_memberships("Toolset", json_)


@toolsets.command("add", epilog=examples("stockade policy toolsets add dangerous run_shell"))
def add_to_toolset(toolset: Toolset, members: ToolsetMembers, json_: Json = False) -> None:
    """Put tools or toolsets into a toolset."""
    _change_memberships("join", ("Toolset", toolset), members, "Tool", json_)


@toolsets.command("remove", epilog=examples("stockade policy toolsets remove dangerous run_shell"))
def remove_from_toolset(toolset: Toolset, members: ToolsetMembers, json_: Json = False) -> None:
    """Take tools or toolsets out of a toolset."""
    _change_memberships("leave", ("Toolset", toolset), members, "Tool", json_)


@tags.command("list", epilog=examples("stockade policy tags list --json"))
def list_tags(json_: Json = False) -> None:
    """List what is tagged with what."""
    from stockade.client import Client

    with Client.open() as client:
        answer = client.get_entities()
    if json_:
        machine.emit({"tags": machine.plain(answer)["tags"]})
        return
    table(
        ("entity", "tag", "value"),
        ((_shown(one.entity, one.exists), one.key, one.value) for one in answer.tags),
        empty="nothing is tagged",
    )


@tags.command("set", epilog=examples("stockade policy tags set tool/run_shell reviewed=yes"))
def set_tags(
    entity: Tagged,
    pairs: Annotated[list[str], typer.Argument(metavar="KEY=VALUE...")],
    json_: Json = False,
) -> None:
    """Tag an entity; a tag of the same key is replaced."""
    if unfit := [pair for pair in pairs if "=" not in pair]:
        raise UsageError(f"{unfit[0]!r} is not KEY=VALUE", fix="write it like reviewed=yes")

    def tag(one: "policy_pb2.Entity") -> "Iterable[policy_pb2.ChangeEntitiesRequest.Change]":
        from stockade.v1 import policy_pb2

        for pair in pairs:
            key, _, value = pair.partition("=")
            yield policy_pb2.ChangeEntitiesRequest.Change(
                tag=policy_pb2.Tag(entity=one, key=key, value=value)
            )

    _change_tags(entity, tag, json_)


@tags.command("unset", epilog=examples("stockade policy tags unset tool/run_shell reviewed"))
def unset_tags(
    entity: Tagged,
    keys: Annotated[list[str], typer.Argument(metavar="KEY...")],
    json_: Json = False,
) -> None:
    """Take tags away."""

    def untag(one: "policy_pb2.Entity") -> "Iterable[policy_pb2.ChangeEntitiesRequest.Change]":
        from stockade.v1 import policy_pb2

        for key in keys:
            yield policy_pb2.ChangeEntitiesRequest.Change(untag=policy_pb2.Tag(entity=one, key=key))

    _change_tags(entity, untag, json_)


def maintenance(
    switch: Annotated[str, typer.Argument(metavar="on|off")] = "", json_: Json = False
) -> None:
    """Begin or end a time of maintenance, in which policy lets owners alone do anything.

    Without on or off: say which it is. It is the attribute `context.maintenance` of policies; the
    default policy forbids by it.
    """
    from stockade.client import Client

    if switch not in ("on", "off", ""):
        raise UsageError(f"{switch!r} is neither on nor off", fix="say on or off")
    with Client.open() as client:
        if not switch:
            on = client.get_entities().maintenance
            answer = {"on": on}
        else:
            done = client.set_maintenance(on=switch == "on")
            on, answer = done.on, machine.plain(done)
    if json_:
        machine.emit(answer)
    else:
        say(f"maintenance is {'on' if on else 'off'}")


def _list_memberships(parent: str, as_json: bool) -> None:
    from stockade.client import Client

    with Client.open() as client:
        answer = client.get_entities()
    kept = [one for one in answer.memberships if one.parent.type == parent]
    if as_json:
        machine.emit({"memberships": [machine.plain(one) for one in kept]})
        return
    table(
        ("member", "is in"),
        ((_shown(one.child, one.exists), one.parent.id) for one in kept),
        empty=f"nothing was put into a {parent.lower()}",
    )


def _change_memberships(
    what: str, parent: tuple[str, str], members: list[str], kind: str, as_json: bool
) -> None:
    from stockade.client import Client
    from stockade.v1 import policy_pb2

    with Client.open() as client:
        memberships = [
            policy_pb2.Membership(
                child=_entity(client, member, kind),
                parent=policy_pb2.Entity(type=parent[0], id=parent[1]),
            )
            for member in members
        ]
        changes = (
            policy_pb2.ChangeEntitiesRequest.Change(join=one)
            if what == "join"
            else policy_pb2.ChangeEntitiesRequest.Change(leave=one)
            for one in memberships
        )
        answer = client.change_entities(changes)
    _say_changed(answer, as_json)


def _change_tags(
    entity: str,
    changes: "Callable[[policy_pb2.Entity], Iterable[policy_pb2.ChangeEntitiesRequest.Change]]",
    as_json: bool,
) -> None:
    from stockade.client import Client

    with Client.open() as client:
        answer = client.change_entities(changes(_entity(client, entity, "")))
    _say_changed(answer, as_json)


def _entity(client: "Client", text: str, kind: str) -> "policy_pb2.Entity":
    """The entity that is meant; devices and agents may be named by their names."""
    from stockade.v1 import policy_pb2

    word, slash, name = text.partition("/")
    if slash:
        kind, text = KINDS.get(word, ""), name
    if not kind:
        raise UsageError(f"{text!r} is not KIND/NAME", fix=f"kinds: {', '.join(KINDS)}")
    if kind == "Device":
        text = find_device(client, text).device_id
    elif kind == "Agent":
        text = find_agent(client, text).agent_id
    return policy_pb2.Entity(type=kind, id=text)


def _shown(entity: "policy_pb2.Entity", exists: bool) -> str:
    return f"{entity.type.lower()}/{entity.id}{'' if exists else ' (not there)'}"


def _say_changed(answer: "policy_pb2.ChangeEntitiesResponse", as_json: bool) -> None:
    if as_json:
        machine.emit(answer)
        return
    say(f"in force: version {answer.version}, {answer.policy_digest}")
    note("calls that wait for approval were asked about under another version: they are void")
