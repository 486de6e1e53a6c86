"""`stockade secrets`: values go in and are never shown again.

A value is read from standard input or a hidden prompt. One that stands on the command line is
refused without being repeated: it is in the shell's history and was in every process list.
"""

import re
import sys
from typing import Annotated

import typer

from stockade.cli import machine
from stockade.cli.options import Json, examples, group
from stockade.cli.terminal import UsageError, note, say, table, when

MAX_BYTES = 65_536
_SCHEME = "secret://"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_REFERENCE = re.compile(r"secret://[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)+")

app = group(
    "secrets",
    "Put secrets in, list their names, remove them.",
    "stockade secrets put github-token                # asks, hidden",
    "stockade secrets put github-token < token.txt",
    "stockade secrets list",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A name, or secret://global/NAME.")]


@app.command(
    epilog=examples("stockade secrets put github-token", "pass show gh | stockade secrets put gh"),
    context_settings={"ignore_unknown_options": True},
)
def put(
    name: Name,
    extra: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    keep_newline: Annotated[
        bool, typer.Option("--keep-newline", help="Keep a final line break of standard input.")
    ] = False,
    json_: Json = False,
) -> None:
    """Store a new version of a secret, from standard input or a hidden prompt."""
    if extra:
        raise UsageError(
            "a secret's value may not stand on the command line",
            reason="SECRET_IN_ARGV",
            fix="give it on standard input, and change it where it came from: "
            "it may be in the shell's history",
        )
    reference = _reference(name)
    value = _prompted(reference) if sys.stdin.isatty() else _piped(keep_newline)
    if not 1 <= len(value) <= MAX_BYTES:
        raise UsageError(
            f"a secret has 1 to {MAX_BYTES} bytes, this has {len(value)}",
            reason="SECRET_SIZE",
            fix="give the value on standard input",
        )
    from stockade.client import Client

    with Client.open() as client:
        answer = client.put_secret(reference, value)
    if json_:
        machine.emit({"reference": reference, **machine.plain(answer)})
    else:
        say(f"{reference} has version {answer.version}")


@app.command("list", epilog=examples("stockade secrets list --json"))
def list_(json_: Json = False) -> None:
    """List names and versions. No command shows a value."""
    from stockade.client import Client

    with Client.open() as client:
        answer = client.list_secrets()
    if json_:
        machine.emit(answer)
        return
    table(
        ("secret", "version", "since"),
        ((one.reference, str(one.version), when(one.created)) for one in answer.secrets),
        empty="no secrets",
    )


@app.command(epilog=examples("stockade secrets remove github-token"))
def remove(name: Name, json_: Json = False) -> None:
    """Remove all versions of a secret."""
    from stockade.client import Client

    reference = _reference(name)
    with Client.open() as client:
        answer = client.remove_secret(reference)
    if json_:
        machine.emit(answer)
    else:
        say(f"removed {reference}")


def _reference(name: str) -> str:
    if name.startswith(_SCHEME):
        if _REFERENCE.fullmatch(name):
            return name
    elif _NAME.fullmatch(name):
        return f"{_SCHEME}global/{name}"
    # Not repeated: what is no name may be a value, as in NAME=VALUE.
    raise UsageError(
        "that is no name of a secret",
        fix="letters, digits, dot, underscore and hyphen; the value goes to standard input",
    )


def _piped(keep_newline: bool) -> bytes:
    value = sys.stdin.buffer.read(MAX_BYTES + 2)
    return value if keep_newline else value.removesuffix(b"\n").removesuffix(b"\r")


def _prompted(reference: str) -> bytes:
    import getpass

    value = getpass.getpass(f"value of {reference} (hidden): ")
    if getpass.getpass("again: ") != value:
        note("the two differ")
        raise UsageError("nothing was stored", fix="try again")
    return value.encode()
