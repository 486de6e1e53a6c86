"""`stockade policy test`: the requests in a folder's test files, and the answers expected."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli import machine
from stockade.cli.options import Json, examples
from stockade.cli.policy_files import place, read_folder, say_problems, source_of
from stockade.cli.terminal import many, say

if TYPE_CHECKING:
    from stockade.client import Client
    from stockade.v1 import policy_pb2

EXAMPLES = examples(
    "stockade policy test",
    "stockade policy test ./candidate --json",
    "stockade policy test ./candidate --policies now",
)
PATTERN = "*.test.toml"


def trial(
    folder: Annotated[
        Path | None,
        typer.Argument(
            metavar="DIR", help="Holds *.cedar and *.test.toml; default: this home's policies."
        ),
    ] = None,
    policies: Annotated[
        str,
        typer.Option("--policies", metavar="SET", help="Test this set: a version, or `now`."),
    ] = "",
    json_: Json = False,
) -> int:
    """Put the requests in test files to a policy set, and compare the answers.

    Nothing is changed and nothing runs. Exit status 1 when a test fails or cannot be asked.
    """
    from stockade.client import Client

    with Client.open() as client:
        passed = run(client, folder, policies or (str(folder) if folder else ""), as_json=json_)
    return 0 if passed else 1


def run(client: "Client", folder: Path | None, policies: str, *, as_json: bool) -> bool:
    """Puts a folder's tests to a set, and says what came of it; whether all passed."""
    files = read_folder(folder, PATTERN)
    answer = client.test_policy(files, source_of(policies))
    failed = [one for one in answer.results if not one.passed]
    if as_json:
        machine.emit(answer)
    elif answer.problems:
        say_problems(answer.problems)
    else:
        for one in failed:
            _say(one)
        count = len(answer.results)
        say(f"{many(count, 'test')}: {count - len(failed)} passed, {len(failed)} failed")
    return not failed and not answer.problems


def _say(one: "policy_pb2.TestPolicyResponse.Result") -> None:
    say(f"{one.file}:{one.line}: {one.name}")
    for difference in one.differences:
        say(f"  - {difference.what:<9} {difference.expected}")
        say(f"  + {difference.what:<9} {difference.found}")
    by = ", ".join(place(ref) for ref in one.policies)
    say(f"  found {one.found}{f'; by {by}' if by else ''}")
