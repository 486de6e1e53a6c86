"""`stockade policy`: read, check and change the Cedar policies in force."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli import machine, policy_entities, policy_evaluate
from stockade.cli.options import Json, examples, group
from stockade.cli.terminal import UsageError, note, say, table, when
from stockade.errors import BadRequest
from stockade.home import Home

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stockade.v1 import policy_pb2

app = group(
    "policy",
    "See, check and change what is allowed.",
    "stockade policy check",
    "stockade policy apply ./policies",
    "stockade policy history",
    "stockade policy rollback 3",
)
for part in (policy_entities.groups, policy_entities.toolsets, policy_entities.tags):
    app.add_typer(part)
app.command(
    epilog=examples("stockade policy maintenance on", "stockade policy maintenance --json")
)(policy_entities.maintenance)

app.command("evaluate", epilog=policy_evaluate.EXAMPLES)(policy_evaluate.evaluate)

Folder = Annotated[
    Path | None,
    typer.Argument(metavar="DIR", help="Holds *.cedar files; default: this home's policies."),
]


@app.command(epilog=examples("stockade policy show", "stockade policy show --schema"))
def show(
    digest: Annotated[
        str, typer.Option("--digest", "--version", help="An earlier set: its digest or number.")
    ] = "",
    schema: Annotated[bool, typer.Option("--schema", help="The Cedar schema instead.")] = False,
    json_: Json = False,
) -> None:
    """Show the policy set in force."""
    from stockade.client import Client

    with Client.open() as client:
        answer = client.get_policy(digest)
    if json_:
        machine.emit(answer)
    elif schema:
        _say_text(answer.schema)
    else:
        say(f"// policy set {answer.digest}")
        for file in answer.files:
            say(f"\n// {file.name}".lstrip("\n"))
            _say_text(file.text)


@app.command(epilog=examples("stockade policy check ./policies"))
def check(folder: Folder = None, json_: Json = False) -> int:
    """Check a set against this daemon's schema and tools. Changes nothing.

    Exit status 1 when something is wrong with it.
    """
    from stockade.client import Client

    files = _files(folder)
    with Client.open() as client:
        answer = client.check_policy(files)
    if json_:
        machine.emit(answer)
    elif not answer.problems:
        say(f"{len(files)} files without problems; digest {answer.digest}")
    else:
        _say_problems(answer.problems)
    return 1 if answer.problems else 0


@app.command(epilog=examples("stockade policy apply ./policies"))
def apply(folder: Folder = None, json_: Json = False) -> int:
    """Put a set in force, at once and for all calls, or change nothing."""
    from stockade.client import Client

    files = _files(folder)
    with Client.open() as client:
        try:
            answer = client.apply_policy(files)
        except BadRequest as error:
            problems = client.check_policy(files)
            if not problems.problems:
                raise
            if json_:
                machine.emit(problems)
            else:
                _say_problems(problems.problems)
            raise error from None
    if json_:
        machine.emit(answer)
    else:
        say(f"in force: version {answer.version}, {answer.digest}")
    return 0


@app.command(epilog=examples("stockade policy rollback", "stockade policy rollback 3 --entities"))
def rollback(
    version: Annotated[
        str,
        typer.Argument(
            metavar="VERSION",
            help="Number or digest in the history; default: the last one with other policies.",
        ),
    ] = "",
    entities: Annotated[
        bool, typer.Option("--entities", help="Its groups, toolsets and tags, too.")
    ] = False,
    json_: Json = False,
) -> None:
    """Put an earlier set in force again, if it is valid with the tools there are now.

    It comes into force as a new version, at once and for all calls, or nothing is changed.
    """
    from stockade.client import Client

    with Client.open() as client:
        answer = client.rollback_policy(version, entities=entities)
    if json_:
        machine.emit(answer)
    else:
        say(f"in force: version {answer.version}, {answer.digest}")


@app.command(epilog=examples("stockade policy history --json"))
def history(json_: Json = False) -> None:
    """List the sets that were in force, newest first."""
    from stockade.client import Client

    with Client.open() as client:
        answer = client.list_policy_versions()
    if json_:
        machine.emit(answer)
        return
    table(
        ("version", "digest", "since", "why", "by", ""),
        (
            (
                str(one.version),
                one.digest[:16],
                when(one.activated),
                one.cause,
                one.activated_by,
                "now" * one.in_force,
            )
            for one in answer.versions
        ),
        empty="no policy was ever in force",
    )


def _files(folder: Path | None) -> "list[policy_pb2.PolicyFile]":
    from stockade.v1 import policy_pb2

    where = folder or Home.locate().policies
    paths = sorted(where.glob("*.cedar"))
    if not paths:
        # An empty set would deny everything; nobody applies that by a mistyped name.
        raise UsageError(f"{where} holds no *.cedar files", fix="name the folder of the policies")
    files = []
    for path in paths:
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            raise UsageError(f"{path} is not UTF-8 text", fix="save it as UTF-8") from None
        files.append(policy_pb2.PolicyFile(name=path.name, text=text))
    return files


def _say_problems(problems: "Iterable[policy_pb2.PolicyProblem]") -> None:
    for one in problems:
        where = f"{one.file}:{one.line}" if one.line else one.file
        note(f"{where}: {one.code}: {one.message}")
        if one.fix:
            note(f"  fix: {one.fix}")


def _say_text(text: str) -> None:
    for line in text.expandtabs(2).splitlines():
        say(line)
