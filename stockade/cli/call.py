"""`stockade call`: one call from its request to its end."""

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stockade.cli import life
from stockade.cli.arguments import typed, whole_json
from stockade.cli.options import Json, Verbose, examples
from stockade.cli.terminal import UsageError, note, report
from stockade.errors import BadRequest, NotFound, NotPermitted, StockadeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from stockade.client import Client
    from stockade.v1 import call_pb2

CANCEL_SECONDS = 10.0

EXAMPLES = examples(
    "stockade call list_files workspace=notes",
    "stockade call run_python --arg code=@summarise.py",
    """stockade call list_files --args-json '{"workspace": "notes"}' --json""",
    "",
    "Exit status: 0 succeeded, 1 the tool failed, 2 usage, 10 denied,",
    "11 rejected, 12 expired, 13 timed out, 14 killed by a limit, 15 cancelled,",
    "16 interrupted, 20 daemon unreachable or tier unavailable.",
)


def call(
    tool: Annotated[str, typer.Argument(help="The tool's name.", metavar="TOOL")],
    given: Annotated[
        list[str] | None, typer.Argument(help="Arguments, as with --arg.", metavar="K=V")
    ] = None,
    arg: Annotated[
        list[str] | None,
        typer.Option(
            "--arg",
            "-a",
            metavar="K=V",
            help="One argument, typed by the tool's schema; K=@FILE and K=@- read it.",
        ),
    ] = None,
    args_json: Annotated[
        str | None,
        typer.Option("--args-json", metavar="JSON", help="All arguments; - reads standard input."),
    ] = None,
    detach: Annotated[
        bool,
        typer.Option("--detach", help="Print the call's id and leave it to go on by itself."),
    ] = False,
    json_: Json = False,
    verbose: Verbose = False,
) -> int:
    """Call a tool and show what becomes of it.

    The tool's output is this command's output: byte for byte, but on a terminal
    what that would obey is made visible. Ctrl-C cancels the call.
    """
    arg = [*(given or ()), *(arg or ())]
    if arg and args_json is not None:
        raise UsageError("K=V and --args-json exclude each other", fix="use one of them")
    raw = whole_json(args_json) if args_json is not None else None
    from stockade.client import Client, new_call_id

    with Client.open() as client:
        arguments = raw if raw is not None else typed(arg, _schema(client, tool, arg))
        call_id = new_call_id()
        return _run(client, tool, arguments, call_id, detach, json_, verbose)


def _run(
    client: "Client",
    tool: str,
    arguments: dict[str, Any] | bytes,
    call_id: str,
    detach: bool,
    as_json: bool,
    verbose: bool,
) -> int:
    heard: list[call_pb2.CallEvent] = []
    try:
        with client.call(tool, arguments, call_id=call_id, detach=detach) as events:
            try:
                status = life.follow(
                    _noted(events, heard), as_json=as_json, verbose=verbose, until_under_way=detach
                )
            except KeyboardInterrupt:
                # Before the stream is left: the record then says that a person cancelled it.
                _interrupted(client, call_id, detach, as_json)
                return life.CANCELLED
    except StockadeError as error:
        if heard and _is_unreachable(error):
            # It was taken in, and may have run: another thing than a call that never arrived.
            error.fix = f"once it is back, how this call ended: stockade calls watch {call_id}"
            report(error)
            return life.EXIT_STATUS["interrupted"]
        return _refused(error)
    if status is not None:
        return status
    if not as_json:
        print(call_id)
        note(f"  goes on by itself: stockade calls watch {call_id}")
    return 0


def _noted(
    events: "Iterable[call_pb2.CallEvent]", heard: "list[call_pb2.CallEvent]"
) -> "Iterator[call_pb2.CallEvent]":
    """The events; the first is kept as what has been heard of the call."""
    for event in events:
        if not heard:
            heard.append(event)
        yield event


def _schema(client: "Client", tool: str, pairs: list[str]) -> dict[str, Any] | None:
    if not pairs:
        return None
    try:
        schema = json.loads(client.get_tool(tool).input_schema)
    except (NotFound, NotPermitted):
        # Send the call all the same: it is the daemon that refuses it, and records that.
        return None
    except ValueError:
        return None
    return schema if isinstance(schema, dict) else None


def _interrupted(client: "Client", call_id: str, detach: bool, as_json: bool) -> None:
    if detach:
        note(f"left to go on by itself: stockade calls watch {call_id}")
        return
    try:
        client.cancel_call(call_id, seconds=CANCEL_SECONDS)
        with client.watch_call(call_id) as events:
            end = (event for event in events if event.HasField("finished"))
            life.follow(end, as_json=as_json, verbose=True, until_under_way=False)
    except NotFound:
        note("cancelled before it arrived")
    except StockadeError as error:
        # Going away cancels it too; only whether it worked is not known.
        report(error)


def _refused(error: StockadeError) -> int:
    """An error of the request itself, with the nearest exit status of the contract."""
    report(error)
    sys.stdout.flush()
    if _is_unreachable(error):
        return life.UNREACHABLE
    if isinstance(error, NotPermitted):
        return life.EXIT_STATUS["denied"]
    return 2 if isinstance(error, BadRequest) else 1


def _is_unreachable(error: StockadeError) -> bool:
    return error.grpc_code in ("UNAVAILABLE", "DEADLINE_EXCEEDED") or error.reason in (
        "DAEMON_UNREACHABLE",
        life.TIER_UNAVAILABLE,
    )
