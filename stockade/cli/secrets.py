"""`stockade secrets`: values go in and are never shown again.

A value is read from standard input or a hidden prompt, and sealed to the vault's key before it
leaves this process. One that stands on the command line is refused without being repeated: it is in
the shell's history and was in every process list. What concerns the vault itself is in
`stockade.cli.secrets_vault`.
"""

import re
import sys
from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from stockade.cli import machine
from stockade.cli.options import Json, examples, group
from stockade.cli.terminal import UsageError, note, say, table, when

MAX_BYTES = 65_536
MAX_SEALED = MAX_BYTES + 512  # the box around it, and the name in it
_SCHEME = "secret://"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_REFERENCE = re.compile(r"secret://[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)+")
_DURATION = re.compile(r"([1-9][0-9]{0,5})([hd])")

app = group(
    "secrets",
    "Put secrets in, list their names, take them away; look after their vault.",
    "stockade secrets put github-token                # asks, hidden",
    "stockade secrets put github-token < token.txt",
    "stockade secrets list",
    "stockade secrets revoke github-token --cancel-calls",
    "stockade secrets rotate --root",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="A name, or secret://global/NAME.")]


@app.command(
    epilog=examples(
        "stockade secrets put github-token",
        "pass show gh | stockade secrets put gh --expires 90d",
        "stockade secrets put gh --sealed < gh.box",
    ),
    context_settings={"ignore_unknown_options": True},
)
def put(
    name: Name,
    extra: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    keep_newline: Annotated[
        bool, typer.Option("--keep-newline", help="Keep a final line break of standard input.")
    ] = False,
    sealed: Annotated[
        bool, typer.Option("--sealed", help="What `secrets seal` made, instead of the value.")
    ] = False,
    expires: Annotated[
        str,
        typer.Option("--expires", metavar="WHEN", help="90d, 12h, or a date like 2027-01-31."),
    ] = "",
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
    reference, until = full_reference(name), _moment(expires)
    value = _sealed() if sealed else read_value(reference, keep_newline)
    from stockade.client import Client

    with Client.open() as client:
        answer = client.put_secret(reference, value, expires=until, sealed=sealed, seal=not sealed)
    if json_:
        machine.emit({"reference": reference, **machine.plain(answer)})
    else:
        say(f"{reference} has version {answer.version}")


@app.command("list", epilog=examples("stockade secrets list --json"))
def list_(json_: Json = False) -> None:
    """List names and versions. No command shows a value."""
    from stockade.client import Client

    with Client.open() as client:
        pages = list(client.pages_of_secrets())
    found = [one for page in pages for one in page.secrets]
    elsewhere = [reference for page in pages for reference in page.kept_elsewhere]
    revoked = [reference for page in pages for reference in page.revoked_elsewhere]
    if json_:
        secrets = [machine.plain(one) for one in found]
        machine.emit(
            {"secrets": secrets, "kept_elsewhere": elsewhere, "revoked_elsewhere": revoked}
        )
        return
    table(
        ("secret", "version", "older", "since", "expires"),
        (
            (
                one.reference,
                str(one.version),
                str(one.older_versions),
                when(one.created),
                when(one.expires) + (" !" if one.expiring else ""),
            )
            for one in found
        ),
        empty="no secrets",
    )
    for reference in elsewhere:
        taken = "; revoked here: `stockade secrets reinstate` ends that"
        say(f"{reference} is kept elsewhere{taken if reference in revoked else ''}")
    for one in found:
        if one.expiring:
            note(f"{one.reference} expires {when(one.expires)}: put a new value in time")


@app.command(epilog=examples("stockade secrets remove github-token"))
def remove(name: Name, json_: Json = False) -> None:
    """Remove all versions of a secret. Calls that run with it go on; see revoke."""
    from stockade.client import Client

    reference = full_reference(name)
    with Client.open() as client:
        answer = client.remove_secret(reference)
    if json_:
        machine.emit(answer)
    else:
        say(f"removed {reference}")


@app.command(
    epilog=examples(
        "stockade secrets revoke github-token --cancel-calls",
        "stockade secrets revoke github-token --report",
    )
)
def revoke(
    name: Name,
    cancel_calls: Annotated[
        bool,
        typer.Option("--cancel-calls/--report", help="End the calls that have it, or name them."),
    ] = True,
    json_: Json = False,
) -> None:
    """Take a secret away at once: erased, refused by that name, and from calls that run."""
    from stockade.client import Client

    reference = full_reference(name)
    with Client.open() as client:
        answer = client.revoke_secret(reference, cancel_calls=cancel_calls)
    if json_:
        machine.emit(answer)
        return
    say(f"revoked {reference}")
    for call in answer.calls:
        say(f"{'cancelled' if cancel_calls else 'still has it:'} {call}")
    note("it was known to who had it: change it where it comes from")


@app.command(epilog=examples("stockade secrets revert github-token --version 3"))
def revert(
    name: Name,
    version: Annotated[int, typer.Option("--version", min=1, help="A version that is kept.")],
    json_: Json = False,
) -> None:
    """Put the value of an earlier version again, as a new version."""
    from stockade.client import Client

    reference = full_reference(name)
    with Client.open() as client:
        answer = client.revert_secret(reference, version)
    if json_:
        machine.emit(answer)
    else:
        say(f"{reference} has version {answer.version}, the value of {version}")


def full_reference(name: str) -> str:
    """The reference that a person meant; a plain name is a global one."""
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


def read_value(reference: str, keep_newline: bool) -> bytes:
    """A value from a pipe or a hidden prompt, of a size that a secret may have."""
    if sys.stdin.isatty():
        value = hidden(f"value of {reference}").encode()
    else:
        value = sys.stdin.buffer.read(MAX_BYTES + 2)
        value = value if keep_newline else value.removesuffix(b"\n").removesuffix(b"\r")
    if not 1 <= len(value) <= MAX_BYTES:
        raise UsageError(
            f"a secret has 1 to {MAX_BYTES} bytes, this has {len(value)}",
            reason="SECRET_SIZE",
            fix="give the value on standard input",
        )
    return value


def hidden(what: str, *, twice: bool = True) -> str:
    """What a person types without its being shown."""
    import getpass

    value = getpass.getpass(f"{what} (hidden): ")
    if twice and getpass.getpass("again: ") != value:
        note("the two differ")
        raise UsageError("nothing was done", fix="try again")
    return value


def _sealed() -> bytes:
    if sys.stdin.isatty():
        raise UsageError("what is sealed is read from standard input", fix="< FILE")
    value = sys.stdin.buffer.read(MAX_SEALED + 1)
    if not 1 <= len(value) <= MAX_SEALED:
        raise UsageError(
            "that is nothing that `secrets seal` made", reason="SECRET_SIZE", fix="seal it again"
        )
    return value


def _moment(text: str) -> datetime | None:
    """A time to come, from how people write it."""
    if not text:
        return None
    found = _DURATION.fullmatch(text)
    if found:
        hours = int(found[1]) * (24 if found[2] == "d" else 1)
        return datetime.now(UTC) + timedelta(hours=hours)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            "that is no time to expire at", fix="90d, 12h, or a date like 2027-01-31"
        ) from None
    return moment.astimezone(UTC)
