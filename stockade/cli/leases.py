"""`stockade leases`: the yeses that stand, what each covers exactly, and ending them."""

from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli import machine
from stockade.cli.ids import resolve, shortened
from stockade.cli.leases_hand import EXAMPLES as HAND_EXAMPLES
from stockade.cli.leases_hand import hand
from stockade.cli.options import Json, examples, group
from stockade.cli.terminal import columns, say, table, time_left, when
from stockade.cli.visible import visible

if TYPE_CHECKING:
    from stockade.client import Client
    from stockade.v1 import lease_pb2

app = group(
    "leases",
    "See which calls run by a yes that was given before, and end that.",
    "stockade leases list",
    "stockade leases show 01988a3c-5d1f",
    "stockade leases revoke 01988a3c-5d1f --running",
)

app.command("hand", epilog=HAND_EXAMPLES)(hand)

Id = Annotated[str, typer.Argument(metavar="ID", help="A lease's id, or the beginning of one.")]


@app.command("list", epilog=examples("stockade leases list --all --json"))
def list_(
    all_: Annotated[bool, typer.Option("--all", help="Also those that have ended.")] = False,
    json_: Json = False,
) -> None:
    """List the leases that stand."""
    from stockade.client import Client

    with Client.open() as client:
        found = client.list_leases(ended=all_)
    if json_:
        for one in found:
            machine.emit(one)
        return
    short = shortened([one.lease_id for one in found])
    table(
        ("id", "whose", "tool", "by", "uses", "state", "arguments"),
        (_row(one, short[one.lease_id]) for one in found),
        empty="no lease stands",
    )


@app.command(epilog=examples("stockade leases show 01988a3c-5d1f"))
def show(id_: Id, json_: Json = False) -> None:
    """Show exactly what a lease covers, in words and as the Cedar permit that it is."""
    from stockade.cli.leasing import lines_of
    from stockade.client import Client
    from stockade.lease import parse_lease

    with Client.open() as client:
        lease = find(client, id_)
    if json_:
        machine.emit(lease)
        return
    say(f"lease      {lease.lease_id}")
    say(f"state      {_state(lease)}")
    say(f"given by   {lease.signer_name} ({lease.signer}), {when(lease.created)}")
    for one in lease.cosigners:
        say(f"and by     {one.device_name} ({one.device_id})")
    say(f"whose      {lease.holder_name}")
    if lease.parent_id:
        say(f"part of    {lease.parent_id}")
    for line in lines_of(parse_lease(lease.terms), columns()):
        say(line)
    say(f"used       {lease.uses} times")
    for text in lease.policies:
        for line in text.splitlines():
            print(visible(line))


@app.command(epilog=examples("stockade leases revoke 01988a3c-5d1f"))
def revoke(
    id_: Id,
    running: Annotated[
        bool, typer.Option("--running", help="Also end the calls that run by it.")
    ] = False,
    json_: Json = False,
) -> None:
    """End a lease: when this returns, no call begins by it."""
    from stockade.client import Client

    with Client.open() as client:
        answer = client.revoke_lease(find(client, id_).lease_id, running=running)
    if json_:
        machine.emit(answer)
    else:
        say(f"revoked after {answer.lease.uses} uses")


def _row(one: "lease_pb2.Lease", short: str) -> tuple[str, ...]:
    from stockade.lease import LeaseError, parse_lease
    from stockade.masking import masked

    try:
        terms = parse_lease(one.terms)
    except LeaseError:
        return (short, one.holder_name, "-", one.signer_name, str(one.uses), one.state, "-")
    state = time_left(terms.expires_ms) if one.state == "active" else one.state
    covers = "exact" if terms.exactly is not None else masked("; ".join(terms.meaning()[:-1]))
    uses = f"{one.uses}/{terms.uses}"
    by = one.signer_name + (f" +{len(one.cosigners)}" if one.cosigners else "")
    return (short, one.holder_name, terms.tool, by, uses, state, covers)


def _state(lease: "lease_pb2.Lease") -> str:
    return f"{lease.state}: {lease.reason}" if lease.reason else str(lease.state)


def find(client: "Client", text: str) -> "lease_pb2.Lease":
    """The lease that is meant."""
    from stockade.errors import NotFound

    found = {one.lease_id: one for one in client.list_leases(ended=True, page_size=500)}
    whole = resolve(text, "lease", lambda: found)
    if whole not in found:
        raise NotFound(
            "there is no such lease", reason="UNKNOWN_LEASE", fix="`stockade leases list --all`"
        )
    return found[whole]
