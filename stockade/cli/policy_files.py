"""Policy sets as the command line names them: a folder, a version, or the one in force.

Raises `UsageError` for a folder that is not one of policies.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli.policy_folder import Finding, meant, read
from stockade.cli.terminal import UsageError, note
from stockade.home import Home

if TYPE_CHECKING:
    from collections.abc import Iterable

    from stockade.v1 import policy_pb2

IN_FORCE = "now"

Which = Annotated[
    str,
    typer.Argument(
        metavar="SET",
        help="A folder, a version's number or digest, or `now`; default: this home's policies.",
    ),
]


def read_folder(folder: Path | None, pattern: str = "*.cedar") -> "list[policy_pb2.PolicyFile]":
    """The files of a folder, as they are; none may be fewer than none that anybody meant."""
    from stockade.v1 import policy_pb2

    where = meant(folder, pattern)
    files, unreadable = read(where, pattern)
    if unreadable:
        first = unreadable[0]
        at = f"{where / first.file}:{first.line}" if first.line else str(where / first.file)
        raise UsageError(f"{at}: {first.message}", fix=first.fix)
    return [policy_pb2.PolicyFile(name=name, text=text) for name, text in files.items()]


def source_of(which: str) -> "policy_pb2.PolicySource":
    """The set that is meant."""
    from stockade.v1 import policy_pb2

    if which == IN_FORCE:
        return policy_pb2.PolicySource()
    folder = Path(which) if which else Home.locate().policies
    if which and not folder.is_dir():
        if "/" in which or which.startswith("."):
            raise UsageError(f"{which} is not a folder", fix="name a folder, or a version")
        return policy_pb2.PolicySource(version=which)
    return policy_pb2.PolicySource(files=policy_pb2.PolicyFiles(files=read_folder(folder)))


def say_problems(problems: "Iterable[policy_pb2.PolicyProblem | Finding]") -> None:
    """What is wrong, each with its way out."""
    for one in problems:
        where = f"{one.file}:{one.line}" if one.line else one.file or "the set"
        kind = "warning: " if one.severity == "warning" else ""
        note(f"{where}: {kind}{one.code}: {one.message}")
        if one.fix:
            note(f"  fix: {one.fix}")


def place(ref: object) -> str:
    """A policy's name and place: "no-rm (mine.cedar:2)"."""
    return f"{ref.id} ({ref.file}:{ref.line})"  # type: ignore[attr-defined]
