"""`stockade policy`: read, check and change the Cedar policies in force."""

from pathlib import Path
from typing import Annotated

import typer

from stockade.cli import (
    machine,
    policy_check,
    policy_diff,
    policy_entities,
    policy_evaluate,
    policy_explain,
    policy_replay,
    policy_trial,
)
from stockade.cli.options import Json, examples, group
from stockade.cli.policy_files import read_folder, say_problems
from stockade.cli.terminal import note, say, table, when
from stockade.errors import BadRequest

app = group(
    "policy",
    "See, check and change what is allowed.",
    "stockade policy check",
    "stockade policy apply ./policies",
    "stockade policy history",
    "stockade policy explain 01988a3c-5d1f",
    "stockade policy test",
    "stockade policy rollback 3",
)
for part in (policy_entities.groups, policy_entities.toolsets, policy_entities.tags):
    app.add_typer(part)
app.command(
    epilog=examples("stockade policy maintenance on", "stockade policy maintenance --json")
)(policy_entities.maintenance)
app.command(epilog=policy_explain.EXAMPLES)(policy_explain.explain)
app.command("test", epilog=policy_trial.EXAMPLES)(policy_trial.trial)
app.command(epilog=policy_replay.EXAMPLES)(policy_replay.replay)
app.command(epilog=policy_diff.EXAMPLES)(policy_diff.diff)

app.command("check", epilog=policy_check.EXAMPLES)(policy_check.check)
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


@app.command(epilog=examples("stockade policy apply ./policies", "stockade policy apply --test"))
def apply(
    folder: Folder = None,
    test: Annotated[
        bool, typer.Option("--test", help="Only if the policy tests in the folder pass.")
    ] = False,
    json_: Json = False,
) -> int:
    """Put a set in force, at once and for all calls, or change nothing."""
    from stockade.client import Client

    files = read_folder(folder)
    with Client.open() as client:
        if test and not policy_trial.run(client, folder, str(folder or ""), as_json=json_):
            note("nothing was applied")
            return 1
        try:
            answer = client.apply_policy(files)
        except BadRequest as error:
            problems = client.check_policy(files)
            if not problems.problems:
                raise
            if json_:
                machine.emit(problems)
            else:
                say_problems(problems.problems)
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
                one.activated_by.removeprefix("device/"),
                "now" * one.in_force,
            )
            for one in answer.versions
        ),
        empty="no policy was ever in force",
    )


def _say_text(text: str) -> None:
    for line in text.expandtabs(2).splitlines():
        say(line)
