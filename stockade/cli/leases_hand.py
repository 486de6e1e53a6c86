"""`stockade leases hand`: a part of a lease of one's own for an agent of one's own."""

import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stockade.cli import machine
from stockade.cli.options import Json, Yes, examples
from stockade.cli.terminal import UsageError, ask, columns, note, say

if TYPE_CHECKING:
    from stockade.client import Client
    from stockade.lease import LeaseTerms

EXAMPLES = examples(
    "stockade leases hand 01988a3c-5d1f --to build",
    "stockade leases hand 01988a3c-5d1f --to build --for 30m --uses 5 \\",
    "  --bound path=below:src/docs",
)


def hand(
    id_: Annotated[str, typer.Argument(metavar="ID", help="A lease of yours, by its id.")],
    to: Annotated[str, typer.Option("--to", metavar="AGENT", help="An agent's name or id.")],
    lasts: Annotated[
        str, typer.Option("--for", metavar="TIME", help="Default: as long as the lease.")
    ] = "",
    uses: Annotated[
        int,
        typer.Option("--uses", min=0, show_default=False, help="Default: as many as it has left."),
    ] = 0,
    bound: Annotated[
        list[str] | None,
        typer.Option(
            "--bound", metavar="NAME=BOUND", help="Narrower arguments, as in `approvals approve`."
        ),
    ] = None,
    yes: Yes = False,
    json_: Json = False,
) -> int:
    """Hand a part of a lease of yours to an agent of yours: narrowed, never widened.

    Its uses are uses of your lease, it ends with it, and the approver's word is asked about as for
    your own calls.
    """
    from stockade.approving import narrowed
    from stockade.cli.leases import find
    from stockade.cli.leasing import bounds_from, lines_of, seconds_of
    from stockade.client import Client
    from stockade.lease import parse_lease

    with Client.open() as client:
        lease = find(client, id_)
        parent = parse_lease(lease.terms)
        ends = int((time.time() + seconds_of(lasts)) * 1000) if lasts else parent.expires_ms
        terms = narrowed(
            parent,
            _agent(client, to),
            expires_ms=ends,
            uses=uses or max(1, parent.uses - lease.uses),
            bounds=bounds_from(bound or [], _values(parent)),
        )
        for line in lines_of(terms, columns()):
            note(line)
        if not yes and not ask("Hand this over?"):
            note("nothing was handed over")
            return 1
        answer = client.hand_lease(terms)
    if json_:
        machine.emit(answer)
    else:
        say(f"lease {answer.lease.lease_id} for {answer.lease.holder_name}")
    return 0


def _agent(client: "Client", text: str) -> str:
    name = text.removeprefix("agent/")
    found = {one.agent_id for one in client.list_agents() if name in (one.agent_id, one.name)}
    if len(found) != 1:
        how = "several agents are" if found else "no agent is"
        raise UsageError(f"{how} called {name!r:.80}", fix="`stockade agents list` has their ids")
    return found.pop()


def _values(parent: "LeaseTerms") -> dict[str, Any]:
    """The values of its arguments, as far as it has any: what is typed is of their types."""
    if parent.exactly is not None:
        return dict(parent.exactly)
    return {name: one["is"] for name, one in (parent.bounds or {}).items() if "is" in one}
