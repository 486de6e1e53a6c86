"""`stockade policy explain`: why a call was decided as it was, or how one would be."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli import machine
from stockade.cli.arguments import typed, whole_json
from stockade.cli.explanation_view import lines
from stockade.cli.ids import resolve
from stockade.cli.options import Json, examples
from stockade.cli.policy_files import IN_FORCE, source_of
from stockade.cli.terminal import UsageError, say

if TYPE_CHECKING:
    from stockade.client import Client
    from stockade.v1 import policy_pb2

EXAMPLES = examples(
    "stockade policy explain 01988a3c-5d1f",
    "stockade policy explain --tool run_shell --arg command=id --group callers",
    "stockade policy explain --tool run_shell --arg command=id --as agent/build \\",
    "  --at 2026-12-24T23:00 --approved-by device/phone --policies ./candidate",
    "stockade policy explain --action apply_policy --group operators",
)


def explain(
    call: Annotated[
        str, typer.Argument(metavar="CALL", help="The id of a call that was made.")
    ] = "",
    tool: Annotated[str, typer.Option("--tool", help="Suppose a call of this tool.")] = "",
    arg: Annotated[
        list[str] | None, typer.Option("--arg", "-a", metavar="K=V", help="One argument.")
    ] = None,
    args_json: Annotated[
        str | None, typer.Option("--args-json", metavar="JSON", help="All arguments.")
    ] = None,
    action: Annotated[
        str, typer.Option("--action", help="Suppose an administrative act instead.")
    ] = "",
    as_: Annotated[
        str, typer.Option("--as", metavar="WHO", help="device/NAME or agent/NAME asks.")
    ] = "",
    group: Annotated[
        list[str] | None,
        typer.Option("--group", "-g", help="A device in exactly these groups asks."),
    ] = None,
    agent: Annotated[bool, typer.Option("--agent", help="An agent of that device asks.")] = False,
    approved_by: Annotated[
        list[str] | None,
        typer.Option(
            "--approved-by",
            metavar="WHO",
            help="device/NAME, or group/NAME[,NAME], has said yes; `nobody` for no one.",
        ),
    ] = None,
    waited: Annotated[
        int, typer.Option("--waited", min=0, metavar="SECONDS", help="So long they were asked.")
    ] = 0,
    at: Annotated[str, typer.Option("--at", metavar="TIME", help="As in 2026-12-24T23:00.")] = "",
    origin: Annotated[str, typer.Option("--from", metavar="ADDRESS")] = "",
    maintenance: Annotated[
        str, typer.Option("--maintenance", metavar="on|off", help="Default: as it is.")
    ] = "",
    policies: Annotated[
        str, typer.Option("--policies", metavar="SET", help="A folder or a version, not `now`.")
    ] = IN_FORCE,
    json_: Json = False,
) -> None:
    """Explain a decision: questions, policies, entities, context, risk and tier.

    A call that was made is explained by what was recorded and kept of it, and compared with today.
    With --tool or --action: how policy would decide, for anybody, at any time, by any set.
    """
    from stockade.client import Client
    from stockade.v1 import policy_pb2

    if sum(map(bool, (call, tool, action))) != 1:
        raise UsageError("name a call, or --tool, or --action", fix="one of them")
    request = policy_pb2.ExplainPolicyRequest(policy=source_of(policies))
    with Client.open() as client:
        if call:
            request.call_id = _whole(client, call)
        elif tool:
            supposed = request.call
            supposed.tool, supposed.origin = tool, origin
            supposed.arguments = _arguments(client, tool, arg, args_json)
            supposed.attended, supposed.waited_seconds = approved_by is not None, waited
            supposed.approvers.extend(
                _approver(one) for one in approved_by or () if one != "nobody"
            )
        else:
            request.act.action, request.act.origin = action, origin
        if not call:
            asked = request.call if tool else request.act
            asked.by.CopyFrom(_somebody(client, as_, group, agent))
            if at:
                asked.time.FromDatetime(_moment(at))
            if maintenance:
                asked.maintenance = _switch(maintenance)
        answer = client.explain_policy(request)
    if json_:
        machine.emit(answer)
        return
    for line in lines(answer):
        say(line)


def _whole(client: "Client", text: str) -> str:
    return resolve(
        text, "call", lambda: (one.call_id for one in client.list_calls(page_size=500).calls)
    )


def _arguments(
    client: "Client", tool: str, pairs: Sequence[str] | None, whole: str | None
) -> bytes:
    if pairs and whole is not None:
        raise UsageError("--arg and --args-json exclude each other", fix="use one of them")
    if whole is not None:
        return whole_json(whole)
    schema = json.loads(client.get_tool(tool).input_schema) if pairs else None
    return json.dumps(typed(pairs or (), schema)).encode()


def _somebody(
    client: "Client", name: str, groups: Sequence[str] | None, agent: bool
) -> "policy_pb2.Somebody":
    from stockade.v1 import policy_pb2

    if name and groups:
        raise UsageError("--as and --group exclude each other", fix="use one of them")
    if groups:
        device = policy_pb2.SupposedDevice(groups=groups, agent=agent)
        return policy_pb2.Somebody(device=device)
    return policy_pb2.Somebody(name=name or client.who_am_i().principal)


def _approver(text: str) -> "policy_pb2.Somebody":
    from stockade.v1 import policy_pb2

    kind, _, names = text.partition("/")
    if kind == "group" and names:
        device = policy_pb2.SupposedDevice(groups=names.split(","))
        return policy_pb2.Somebody(device=device)
    return policy_pb2.Somebody(name=text)


def _moment(text: str) -> datetime:
    """A time; without a zone it is this machine's."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        raise UsageError(f"{text!r} is not a time", fix="write 2026-12-24T23:00") from None


def _switch(text: str) -> bool:
    if text not in ("on", "off"):
        raise UsageError(f"{text!r} is neither on nor off", fix="say on or off")
    return text == "on"
