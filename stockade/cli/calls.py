"""`stockade calls`: what was called, and the calls that still go on."""

from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli import ledger, life, machine
from stockade.cli.ids import resolve, shortened
from stockade.cli.options import Json, Verbose, examples, group
from stockade.cli.terminal import UsageError, interruptible, note, say, table, when

if TYPE_CHECKING:
    from stockade.client import Client
    from stockade.v1 import call_pb2

app = group(
    "calls",
    "List, show, watch and cancel calls.",
    "stockade calls list --state running",
    "stockade calls watch 01988a3c-5d1f",
    "stockade calls cancel 01988a3c-5d1f",
)

Id = Annotated[str, typer.Argument(metavar="ID", help="A call's id, or the beginning of one.")]


@app.command("list", epilog=examples("stockade calls list --state denied --limit 10 --json"))
def list_(
    state: Annotated[
        list[str] | None, typer.Option("--state", help="Only these, like running or denied.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=500, help="At most this many.")] = 50,
    json_: Json = False,
) -> None:
    """List calls, newest first."""
    from stockade.client import Client
    from stockade.v1 import call_pb2

    states = []
    for word in state or ():
        name = "CALL_STATE_" + word.upper().replace("-", "_")
        if name not in call_pb2.CallState.keys():  # noqa: SIM118 - an enum, not a mapping
            raise UsageError(f"there is no state {word!r}", fix="one of: " + ", ".join(_states()))
        states.append(call_pb2.CallState.Value(name))
    with Client.open() as client:
        answer = client.list_calls(page_size=limit, states=states)
    if json_:
        for one in answer.calls:
            machine.emit(one)
        return
    short = shortened([one.call_id for one in answer.calls])
    table(
        ("id", "tool", "state", "who", "when"),
        (
            (
                short[one.call_id],
                one.tool,
                _state(one),
                one.principal_name or one.principal,
                when(one.created),
            )
            for one in answer.calls
        ),
        empty="no calls",
    )
    if answer.next_page_token:
        note(f"there are more than these {limit}: --limit shows up to 500")


@app.command(epilog=examples("stockade calls watch 01988a3c-5d1f --json"))
def watch(id_: Id, json_: Json = False, verbose: Verbose = False) -> int:
    """Show a call's output and end, from where it still is kept.

    Leaving the watch cancels nothing. The exit status is that of `stockade call`.
    """
    from stockade.client import Client

    with Client.open() as client:
        call_id = _whole(client, id_)
        with (
            interruptible(f"the call goes on: stockade calls watch {call_id}"),
            client.watch_call(call_id) as events,
        ):
            status = life.follow(events, as_json=json_, verbose=verbose, until_under_way=False)
    return 0 if status is None else status


@app.command(epilog=examples("stockade calls cancel 01988a3c-5d1f"))
def cancel(id_: Id, json_: Json = False) -> None:
    """End a call that has not ended."""
    from stockade.client import Client

    with Client.open() as client:
        call_id = _whole(client, id_)
        answer = client.cancel_call(call_id)
    if json_:
        machine.emit({"call_id": call_id, **machine.plain(answer)})
    else:
        say(f"{call_id} {machine.plain(answer)['state'].replace('_', ' ')}")


app.command("show", epilog=examples("stockade calls show 01988a3c-5d1f"))(ledger.show)


def _state(one: "call_pb2.CallSummary") -> str:
    """The state, and the reason where it says more."""
    state = str(machine.plain(one)["state"])
    more = one.reason if one.reason not in ("", "STARTED", "PERMITTED", state.upper()) else ""
    return f"{state.replace('_', ' ')} {more}".strip()


def _whole(client: "Client", text: str) -> str:
    return resolve(
        text, "call", lambda: (one.call_id for one in client.list_calls(page_size=500).calls)
    )


def _states() -> list[str]:
    return ["pending_approval", "permitted", "running", *life.EXIT_STATUS]
