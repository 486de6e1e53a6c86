"""`stockade secrets sources` and `reinstate`: what others keep, before a call needs it."""

from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli import (
    machine,
    secrets_vault,  # noqa: F401 - more commands of the same group
)
from stockade.cli.options import Json, examples
from stockade.cli.secrets import Name, app, full_reference
from stockade.cli.terminal import note, say, table

if TYPE_CHECKING:
    from stockade.v1.secret_pb2 import CheckSourcesResponse


@app.command(
    epilog=examples(
        "stockade secrets sources",
        "stockade secrets sources central",
        "stockade secrets sources secret://source/central/mail-password --json",
    )
)
def sources(
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="A source, or one secret by its reference.")
    ] = "",
    json_: Json = False,
) -> int:
    """Ask the other sources now whether they would give what is named. No value is shown.

    Exit status 1 when one of them would not.
    """
    from stockade.client import Client

    with Client.open() as client:
        answer = client.check_sources(name)
    well = all(
        held.present and not held.revoked for one in answer.sources for held in one.secrets
    ) and not any(one.HasField("why") for one in answer.sources)
    if json_:
        machine.emit(answer)
    else:
        _show(answer)
    return 0 if well else 1


@app.command(epilog=examples("stockade secrets reinstate secret://source/team/api-token"))
def reinstate(name: Name, json_: Json = False) -> None:
    """Let a revoked secret of another source be had again, after it was changed there."""
    from stockade.client import Client

    reference = full_reference(name)
    with Client.open() as client:
        answer = client.reinstate_secret(reference)
    if json_:
        machine.emit(answer)
    else:
        say(f"{reference} can be had again")


def _show(answer: "CheckSourcesResponse") -> None:
    if not answer.sources:
        say("config.toml names no other source")
    for one in answer.sources:
        say(f"{one.name}: {one.kind}, {one.place}")
        let_in = "authenticated" if one.authenticated else "NOT AUTHENTICATED"
        say(f"  reachable, {let_in}" if one.reachable else "  NOT REACHABLE")
        if one.HasField("why"):
            _explain(one.why)
    rows = [(held.reference, *_found(held)) for one in answer.sources for held in one.secrets]
    if rows:
        table(("secret", "there", "version", "reason"), rows, empty="")
    fixes = {
        held.why.fix: held.why
        for one in answer.sources
        for held in one.secrets
        if held.HasField("why") and not one.HasField("why")
    }
    for why in fixes.values():
        _explain(why)


def _found(held: "CheckSourcesResponse.Held") -> tuple[str, str, str]:
    version = str(held.version) if held.present else "-"
    reason = "SECRET_REVOKED" if held.revoked else held.why.code
    return "yes" if held.present else "no", version, reason or "-"


def _explain(why: "CheckSourcesResponse.Why") -> None:
    note(f"{why.code}: {why.message}")
    note(f"fix: {why.fix}")
