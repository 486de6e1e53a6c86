"""`stockade policy check`: what is wrong with a policy set, before it is in force.

Asks the daemon, which knows its tools, devices and groups; where none answers, or with --offline,
the `stockaded` of this installation looks at the files by itself, with the tools of this home.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from stockade.cli import installed, machine
from stockade.cli.options import Json, examples
from stockade.cli.policy_files import say_problems
from stockade.cli.policy_folder import Finding, meant, read
from stockade.cli.terminal import many, note, say
from stockade.errors import CredentialsError, DaemonUnreachable
from stockade.home import Home

EXAMPLES = examples(
    "stockade policy check ./policies",
    "stockade policy check ./policies --offline --strict --json",
)


def check(
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="DIR", help="Holds *.cedar files; default: this home's policies."),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Ask no daemon: with the tools of this home.")
    ] = False,
    schema: Annotated[
        Path | None,
        typer.Option("--schema", help="Offline, against this; `policy show --schema` prints one."),
    ] = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Exit status 1 for warnings, too.")
    ] = False,
    json_: Json = False,
) -> int:
    """Check a set: parse it, validate it strictly, look for what cannot be meant.

    Errors keep a set from being applied. Warnings do not: policies that never apply, permits that a
    forbid always beats, names of nothing, policies that can be in error. Changes nothing. Exit
    status 1 when there is an error.
    """
    where = meant(folder)
    files, findings = read(where)
    answer: dict[str, Any] = {"problems": [one.to_json() for one in findings], "digest": ""}
    by = "files"
    if not findings:
        answer, by = _ask(where, files, schema, offline or schema is not None)
    problems = [Finding(**one) for one in answer["problems"]]
    if json_:
        machine.emit({**answer, "checked_by": by})
    else:
        _say(len(files), problems, answer["digest"])
    wrong = [one for one in problems if strict or one.severity != "warning"]
    return 1 if wrong else 0


def _ask(
    where: Path, files: dict[str, str], schema: Path | None, offline: bool
) -> tuple[dict[str, Any], str]:
    """The answer, and who gave it."""
    if not offline:
        try:
            return _ask_daemon(files), "daemon"
        except (DaemonUnreachable, CredentialsError) as error:
            note(f"{error.reason}: checked without the daemon, so without its devices and groups")
    arguments = ["check", "--policies", str(where.absolute())]
    if schema is not None:
        arguments += ["--schema", str(schema.absolute())]
    answer = installed.ask(Home.locate(), arguments)
    for name in answer.pop("refused_tools", ()):
        note(f"the tool {name} cannot be used, so its arguments are unknown here")
    return answer, "stockaded"


def _ask_daemon(files: dict[str, str]) -> dict[str, Any]:
    from stockade.client import Client
    from stockade.v1 import policy_pb2

    sent = [policy_pb2.PolicyFile(name=name, text=text) for name, text in files.items()]
    with Client.open() as client:
        answer = machine.plain(client.check_policy(sent))
    for one in answer["problems"]:
        one["severity"] = one["severity"] or "error"  # of a daemon that knows no warnings
    return answer


def _say(files: int, problems: list[Finding], digest: str) -> None:
    say_problems(problems)
    if not problems:
        say(f"{many(files, 'file')} without problems" + f"; digest {digest}" * bool(digest))
        return
    warnings = sum(one.severity == "warning" for one in problems)
    errors = many(len(problems) - warnings, "error")
    note(f"{many(files, 'file')}: {errors}, {many(warnings, 'warning')}")
