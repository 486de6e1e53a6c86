"""`stockade tools`: the tools this daemon knows, and adding one's own."""

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stockade.cli import machine
from stockade.cli.options import Json, examples, group
from stockade.cli.terminal import UsageError, facts, note, say, table
from stockade.cli.visible import as_text

if TYPE_CHECKING:
    from stockade.v1 import tool_pb2

MAX_FILES = 256
MAX_BYTES = 8 * 1024 * 1024
MAX_LEVELS = 8
MANIFEST = "manifest.toml"

app = group(
    "tools",
    "List, show, add and remove tools.",
    "stockade tools list",
    "stockade tools show run_shell",
    "stockade tools add ./my_tool",
)

Name = Annotated[str, typer.Argument(metavar="NAME", help="The tool's name.")]


@app.command("list", epilog=examples("stockade tools list --json"))
def list_(json_: Json = False) -> None:
    """List the tools, and the tool folders that were refused."""
    from stockade.client import Client

    with Client.open() as client:
        answer = client.list_tools()
    if json_:
        machine.emit(answer)
        return
    table(
        ("tool", "version", "from", "summary"),
        ((one.name, one.version, one.provenance, one.summary) for one in answer.tools),
        empty="no tools",
    )
    for refused in answer.refused:
        where = ": ".join(part for part in (refused.file, refused.key) if part)
        why = f": {refused.message} ({where})" if refused.message else ""
        note(f"refused: {refused.folder}: {refused.reason}{why}")
        if refused.fix:
            note(f"fix: {refused.fix}")


@app.command(
    epilog=examples("stockade tools show run_shell", "stockade tools show run_shell --json"),
)
def show(name: Name, json_: Json = False) -> None:
    """Show a tool's whole contract."""
    from stockade.client import Client

    with Client.open() as client:
        tool = client.get_tool(name)
    if json_:
        machine.emit(tool)
        return
    say(f"{tool.name} {tool.version} ({tool.provenance})")
    paragraphs = (" ".join(part.split("\n")) for part in tool.description.split("\n\n"))
    facts((("", text) for text in (tool.summary, *paragraphs)), label=2)
    needs = ("network", "filesystem_write", "external_apis")
    wants = ", ".join(need.replace("_", " ") for need in needs if getattr(tool, need))
    say(f"{'toolset':<10}{tool.toolset or 'none'}")
    say(f"{'digest':<10}{tool.digest}")
    say(f"{'wants':<10}{wants or 'nothing beyond its sandbox'}")
    say(f"{'secrets':<10}{', '.join(tool.secrets) or 'none'}")
    _say_arguments(tool.input_schema)


@app.command(epilog=examples("stockade tools add ./my_tool"))
def add(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Holds manifest.toml.")],
    json_: Json = False,
) -> None:
    """Add a tool of your own, or replace it. Nothing changes if anything about it is wrong."""
    from stockade.client import Client

    files = list(_files(folder))
    with Client.open() as client:
        answer = client.add_tool(files)
    if json_:
        machine.emit(answer)
    else:
        say(f"added {answer.tool.name} {answer.tool.version}, digest {answer.tool.digest}")


@app.command(epilog=examples("stockade tools remove my_tool"))
def remove(name: Name, json_: Json = False) -> None:
    """Take a tool of your own away. Calls under way go on."""
    from stockade.client import Client

    with Client.open() as client:
        answer = client.remove_tool(name)
    if json_:
        machine.emit(answer)
    else:
        say(f"removed {name}")


def _files(folder: Path) -> "Iterator[tool_pb2.AddToolRequest.File]":
    from stockade.v1 import tool_pb2

    if not (folder / MANIFEST).is_file():
        raise UsageError(f"{folder} has no {MANIFEST}", fix="name the folder of a tool")
    count = total = 0
    for path, found in _walked(folder):
        # Before it is read: a file may be larger than memory.
        count, total = count + 1, total + found.st_size
        if count > MAX_FILES or total > MAX_BYTES:
            raise UsageError(
                f"{folder} holds more than {MAX_FILES} files or 8 MiB",
                fix="leave out what the tool does not need to run",
            )
        yield tool_pb2.AddToolRequest.File(
            path=path.relative_to(folder).as_posix(),
            content=path.read_bytes(),
            executable=bool(found.st_mode & stat.S_IXUSR),
        )


def _walked(folder: Path) -> "Iterator[tuple[Path, os.stat_result]]":
    """The plain files in it, in order; raises `UsageError` for what a tool cannot have."""
    left = [folder]
    while left:
        path = left.pop()
        found, shown = path.lstat(), as_text(path)
        if shown != str(path):
            raise UsageError(f"the name of {shown} is not UTF-8", fix="give it another name")
        if len(path.parts) - len(folder.parts) > MAX_LEVELS:
            raise UsageError(f"{folder} has more than {MAX_LEVELS} levels", fix="make it flatter")
        if stat.S_ISDIR(found.st_mode) or path is folder:
            left += sorted(path.iterdir(), reverse=True)
        elif stat.S_ISREG(found.st_mode):
            yield path, found
        else:
            # A link would send what it points to, which nobody looked at.
            raise UsageError(
                f"{path} is not a plain file", fix="put a copy in its place, or take it away"
            )


def _say_arguments(schema_bytes: bytes) -> None:
    try:
        schema: Any = json.loads(schema_bytes)
        properties = dict(schema.get("properties", {}))
        required = set(schema.get("required", ()))
    except (ValueError, AttributeError, TypeError):
        say("arguments: the schema is not readable; see --json")
        return
    say("arguments" + ("" if properties else " none"))
    for name, declared in properties.items():
        kind = declared.get("type", "any") if isinstance(declared, dict) else "any"
        about = declared.get("description", "") if isinstance(declared, dict) else ""
        must = "" if name in required else ", optional"
        facts([("", f"{name} ({kind}{must}) {about}".rstrip())], label=2)
