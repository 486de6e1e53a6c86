"""`stockade pair`: this device becomes one of a daemon's."""

import sys
from typing import Annotated

import typer

from stockade.cli import machine
from stockade.cli.options import Json, examples
from stockade.cli.terminal import interruptible, note, say

EXAMPLES = examples(
    "stockade pair stockade-pair-1:mzxw6ytboi...",
    "stockade pair -            # reads the code from standard input",
)


def pair(
    code: Annotated[
        str, typer.Argument(metavar="CODE", help="From `stockade devices invite`; - reads it.")
    ],
    name: Annotated[
        str, typer.Option("--name", help="What to call this device here; default: as invited.")
    ] = "",
    json_: Json = False,
) -> None:
    """Pair this device with the daemon that made the code."""
    from stockade.home import Home
    from stockade.pairing import pair as run

    text = sys.stdin.readline() if code == "-" else code

    def waiting(words: str) -> None:
        if json_:
            machine.emit({"event": "waiting", "words": words})
            return
        say("Read these words to the person who invited this device:")
        say(f"  {words}")
        note("waiting for their yes")

    home = Home.locate()
    with interruptible("this device is not paired: ask for another invitation"):
        credentials = run(text, home.client, name=name, waiting=waiting)
    if json_:
        machine.emit(
            {
                "event": "paired",
                "device_id": credentials.device_id,
                "name": credentials.name,
                "address": credentials.address,
            }
        )
    else:
        say(f"paired as {credentials.name} ({credentials.device_id}) with {credentials.address}")
        note("try: stockade whoami · stockade approvals watch")
