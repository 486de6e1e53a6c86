"""`stockade agents`: automations with certificates of their own, under this device."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli import machine
from stockade.cli.options import Json, Yes, examples, group
from stockade.cli.terminal import ask, note, say, table, when
from stockade.errors import BadRequest, NotFound

if TYPE_CHECKING:
    from stockade.client import Client
    from stockade.v1 import agent_pb2

app = group(
    "agents",
    "Enroll, list and revoke agents.",
    "stockade agents enroll build --manifest agent.toml --home ./build-home",
    "stockade agents list",
    "stockade agents revoke build",
)

Which = Annotated[
    str, typer.Argument(metavar="AGENT", help="Its id, the beginning of it, or its name.")
]


@app.command(epilog=examples("stockade agents enroll build --manifest agent.toml --home ./build"))
def enroll(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As the manifest has it.")],
    manifest: Annotated[
        Path, typer.Option("--manifest", metavar="FILE", help="What the agent is: TOML.")
    ],
    home: Annotated[
        Path, typer.Option("--home", metavar="DIR", help="Where its key is made and kept.")
    ],
    json_: Json = False,
) -> None:
    """Give an automation a certificate of its own, under this device.

    It may do what this device may do and its manifest declares, and no more. A changed manifest
    makes another agent, which takes the place of the one before. Run it again for a new certificate
    when the old one has ended.
    """
    from stockade.agents import enroll as run
    from stockade.client import Client
    from stockade.home import Home

    folder = home.absolute()
    with Client.open() as client:
        enrolled = run(client, name, manifest, Home.under(folder), Home.locate())
    agent, replaces = enrolled.answer.agent, enrolled.answer.replaces
    if json_:
        answer = machine.plain(enrolled.answer)
        # The certificate is in the home, and nobody reads one.
        kept = {k: v for k, v in answer.items() if k not in ("certificate", "authority")}
        machine.emit({**kept, "home": str(folder)})
        return
    say(f"enrolled {agent.name} ({agent.agent_id}), certificate until "
        f"{when(agent.certificate_expires)}")  # fmt: skip
    if replaces:
        say(f"it takes the place of {replaces}, which is revoked")
    say(f"to act as it: STOCKADE_HOME={shlex.quote(str(folder))} stockade call ...")


@app.command("list", epilog=examples("stockade agents list --json"))
def list_(json_: Json = False) -> None:
    """List the agents of this device, or all for those who may see all."""
    from stockade.client import Client

    with Client.open() as client:
        found = client.list_agents()
    if json_:
        for one in found:
            machine.emit(one)
        return
    table(
        ("agent", "version", "device", "status", "certificate until"),
        (
            (
                one.agent_id,
                one.version,
                one.device_name,
                one.status,
                when(one.certificate_expires),
            )
            for one in found
        ),
        empty="no agents; enroll one: `stockade agents enroll`",
    )


@app.command(epilog=examples("stockade agents revoke build"))
def revoke(agent: Which, yes: Yes = False, json_: Json = False) -> int:
    """End an agent for good: its streams are cut and its certificates never accepted again."""
    from stockade.client import Client

    with Client.open() as client:
        found = find(client, agent)
        question = f"Revoke {found.name} ({found.agent_id})?"
        if not yes and sys.stdin.isatty() and not ask(question):
            note("nothing was done")
            return 1
        answer = client.revoke_agent(found.agent_id)
    if json_:
        machine.emit({"agent_id": found.agent_id, **machine.plain(answer)})
    else:
        say(f"revoked {found.name} ({found.agent_id})")
    return 0


@app.command(epilog=examples("stockade agents resume build"))
def resume(agent: Which, json_: Json = False) -> None:
    """Let an agent in again that an alert suspended."""
    from stockade.client import Client

    with Client.open() as client:
        found = find(client, agent)
        answer = client.resume_principal(f"agent/{found.agent_id}")
    if json_:
        machine.emit({"agent_id": found.agent_id, **machine.plain(answer)})
    else:
        say(f"{found.name} ({found.agent_id}) is let in again")


def find(client: "Client", text: str) -> "agent_pb2.Agent":
    """The agent of that id or name, or whose id begins like that."""
    agents = client.list_agents()
    exact = [one for one in agents if one.agent_id == text]
    active = [one for one in agents if one.name == text and one.status != "revoked"]
    begin = [one for one in agents if one.agent_id.startswith(text) and one.status != "revoked"]
    for found in (exact, active, begin):
        if len(found) == 1:
            return found[0]
        if found:
            raise BadRequest(
                f"{len(found)} agents fit {text!r}",
                reason="AMBIGUOUS_ID",
                fix="use an id of `stockade agents list`",
            )
    raise NotFound(
        f"no agent fits {text!r}", reason="UNKNOWN_AGENT", fix="`stockade agents list` shows them"
    )
