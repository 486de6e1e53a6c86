"""Tool folders that are wrong: refused with file, key, reason; no other goes with them."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from stockade.client import Client
from stockade.errors import BadRequest, NotFound
from stockade.v1 import tool_pb2
from tests.attacks.marks import GOOD
from tests.attacks.probing import denied, ledger, sequence
from tests.conftest import config_with
from tests.running import RunningDaemon, finished, output, running

BUILTIN = {"list_files", "read_file", "run_python", "run_shell", "write_file"}

MANIFEST = """\
name = "greet"
version = "1.0.0"
summary = "Say hello."
argv = ["/bin/echo", "hello {name}"]
[input]
type = "object"
required = ["name"]
[input.properties.name]
type = "string"
[risk]
data_sensitivity = 0.1
"""
WHOLE = MANIFEST.replace('"hello {name}"', '"hello", "{name}"')

Damage = Callable[[Path], None]


def manifest(text: str) -> Damage:
    """Writes that manifest."""

    def damage(folder: Path) -> None:
        (folder / "manifest.toml").write_text(text)

    return damage


def replaced(old: str, new: str) -> Damage:
    """Writes the whole manifest with one thing changed."""
    assert old in WHOLE
    return manifest(WHOLE.replace(old, new))


def linked(folder: Path) -> None:
    """Adds a link out of the folder."""
    manifest(WHOLE)(folder)
    (folder / "passwd").symlink_to("/etc/passwd")


# What is wrong; the reason code; the file and the key that are named.
WRONG: dict[str, tuple[Damage, str, str, str]] = {
    "no manifest": (lambda _: None, "MANIFEST_MISSING", "manifest.toml", ""),
    "not TOML": (manifest("name = "), "MANIFEST_MALFORMED", "manifest.toml", ""),
    "an unknown key": (
        replaced("version", "verison"), "MANIFEST_UNKNOWN_KEY", "manifest.toml", "verison",
    ),
    "an unknown key inside": (
        replaced("data_sensitivity = 0.1", "data_sensitivity = 0.1\ncode_trust = 1.0"),
        "MANIFEST_UNKNOWN_KEY", "manifest.toml", "risk.code_trust",
    ),
    "a wrong type": (
        replaced('"1.0.0"', "1"), "MANIFEST_INVALID", "manifest.toml", "version",
    ),
    "a risk out of range": (
        replaced("0.1", "-0.1"), "MANIFEST_INVALID", "manifest.toml", "risk.data_sensitivity",
    ),
    "NaN for a risk": (
        replaced("0.1", "nan"), "MANIFEST_INVALID", "manifest.toml", "risk.data_sensitivity",
    ),
    "no risk": (
        replaced("[risk]\ndata_sensitivity = 0.1\n", ""), "MANIFEST_INVALID", "manifest.toml",
        "risk",
    ),
    "another name than its folder's": (
        replaced('"greet"', '"great"'), "MANIFEST_NAME", "manifest.toml", "name",
    ),
    "the toolset of the builtins": (
        replaced('summary', 'toolset = "builtin"\nsummary'), "MANIFEST_TOOLSET",
        "manifest.toml", "toolset",
    ),
    "a placeholder for no argument": (
        replaced("{name}", "{nome}"), "MANIFEST_PLACEHOLDER", "manifest.toml", "argv",
    ),
    "a placeholder inside a text": (
        manifest(MANIFEST), "MANIFEST_PLACEHOLDER", "manifest.toml", "argv",
    ),
    "a program that is not here": (
        replaced("/bin/echo", "/bin/no-such-program"), "MANIFEST_ARGV_FILE", "manifest.toml",
        "argv",
    ),
    "a schema that fetches another": (
        replaced('type = "string"', '"$ref" = "https://example.com/schema.json"'),
        "SCHEMA_REFERENCE", "manifest.toml", "input",
    ),
    "a pattern that backtracks": (
        replaced('type = "string"', 'type = "string"\npattern = "(a)\\\\1"'),
        "SCHEMA_PATTERN", "manifest.toml", "input",
    ),
    "a link": (linked, "FOLDER_NOT_REGULAR", "passwd", ""),
}  # fmt: skip


# An upload has no folder yet that its name could differ from.
@pytest.mark.parametrize("which", [w for w in WRONG if "its folder's" not in w])
def test_adding_a_broken_folder_changes_nothing(
    shared_daemon: RunningDaemon, tmp_path: Path, which: str
) -> None:
    """`tools add` says file, key, reason and fix; tools, folder and ledger are as they were."""
    damage, reason, file, key = WRONG[which]
    folder = tmp_path / "greet"
    folder.mkdir()
    (folder / "notes.txt").write_text("not the manifest\n")
    damage(folder)
    with shared_daemon.client() as client:
        before, tools = sequence(client), client.list_tools()
        answer = shared_daemon.cli("tools", "add", str(folder))
        assert answer.status != 0
        assert "Traceback" not in answer.err
        assert "fix: " in answer.err
        assert file in answer.err
        assert "upload" not in answer.err  # no folder that the person could look for
        assert key in answer.err
        if which not in ("no manifest", "a link"):  # which the command line sees by itself
            assert reason in answer.err
            with pytest.raises(BadRequest) as caught:
                client.add_tool(files_of(folder))
            assert caught.value.reason == reason
            assert caught.value.fix
        assert client.list_tools() == tools
        assert sequence(client) == before
    assert not (shared_daemon.home.tools / "greet").exists()


def files_of(folder: Path) -> list[tool_pb2.AddToolRequest.File]:
    """A folder as it is sent."""
    return [
        tool_pb2.AddToolRequest.File(path=path.name, content=path.read_bytes())
        for path in sorted(folder.iterdir())
    ]


UPLOADS: dict[str, list[str]] = {
    "no files": [],
    "no manifest": ["run.sh"],
    "a path upwards": ["manifest.toml", "../../policies/evil.cedar"],
    "an absolute path": ["manifest.toml", "/etc/cron.d/evil"],
    "a path twice": ["manifest.toml", "a", "a"],
    "a file that is a folder": ["manifest.toml", "a", "a/b"],
    "an empty path": ["manifest.toml", ""],
    "a NUL": ["manifest.toml", "a\0b"],
    "a newline": ["manifest.toml", "a\nb"],
    "differing in case": ["manifest.toml", "A", "a"],
    "too many": ["manifest.toml", *(f"f{number}" for number in range(300))],
    "too deep": ["manifest.toml", "/".join("d" * 100)],
}


@pytest.mark.parametrize("which", UPLOADS)
def test_an_upload_that_is_no_folder_is_refused(shared_daemon: RunningDaemon, which: str) -> None:
    """Paths that no folder has, or that lead out of it, are refused before any is made."""
    files = [
        tool_pb2.AddToolRequest.File(
            path=path, content=WHOLE.encode() if path == "manifest.toml" else b"x"
        )
        for path in UPLOADS[which]
    ]
    home = shared_daemon.home
    before = sorted(path for path in home.config.rglob("*") if "data" not in path.parts)
    with shared_daemon.client() as client:
        count, tools = sequence(client), client.list_tools()
        with pytest.raises(BadRequest) as caught:
            client.add_tool(files)
        assert caught.value.reason
        assert caught.value.fix
        assert client.list_tools() == tools
        assert sequence(client) == count
    assert sorted(path for path in home.config.rglob("*") if "data" not in path.parts) == before


def test_a_builtin_is_not_replaced_or_removed(shared_daemon: RunningDaemon) -> None:
    """No tool of the operator's carries a builtin's name, and builtins stay."""
    text = WHOLE.replace('"greet"', '"read_file"').encode()
    with shared_daemon.client() as client:
        builtin = client.get_tool("read_file").digest
        with pytest.raises(BadRequest) as caught:
            client.add_tool([tool_pb2.AddToolRequest.File(path="manifest.toml", content=text)])
        assert caught.value.reason == "TOOL_SHADOWS_BUILTIN"
        with pytest.raises(NotFound) as missing:
            client.remove_tool("read_file")
        assert missing.value.reason == "UNKNOWN_TOOL"
        assert client.get_tool("read_file").digest == builtin


def test_broken_folders_at_the_start_take_no_other_tool_down(daemon: RunningDaemon) -> None:
    """Each broken folder is listed with file, key, reason and fix; all others are there."""
    daemon.stop()
    tools, expected = daemon.home.tools, {}
    for number, (damage, reason, file, key) in enumerate(WRONG.values()):
        folder = tools / ("greet" if number == 0 else f"greet{number}")
        folder.mkdir()
        damage(folder)
        path = folder / "manifest.toml"
        if path.is_file() and reason != "MANIFEST_NAME":
            path.write_text(path.read_text().replace('"greet"', f'"{folder.name}"'))
        expected[str(folder)] = (reason, file, key)
    (tools / "read_file").mkdir()
    (tools / "read_file" / "manifest.toml").write_text(WHOLE.replace('"greet"', '"read_file"'))
    expected[str(tools / "read_file")] = ("TOOL_SHADOWS_BUILTIN", "", "")
    (tools / "stray.txt").write_text("no folder\n")
    (tools / "whole").mkdir()
    (tools / "whole" / "manifest.toml").write_text(WHOLE.replace('"greet"', '"whole"'))
    os.mkfifo(tools / "pipe")  # must not stop the start for ever
    daemon.start()
    with daemon.client() as client:
        listed = client.list_tools()
        assert {tool.name for tool in listed.tools} == BUILTIN | {"whole"}
        refused = {one.folder: one for one in listed.refused}
        assert set(refused) == set(expected) | {str(tools / "stray.txt"), str(tools / "pipe")}
        for name, (reason, file, key) in expected.items():
            one = refused[name]
            assert one.reason == reason, one
            assert one.message
            assert one.fix
            assert file in one.file or file in one.message
            assert one.key.startswith(key)
        assert client.status().refused_tools == len(refused)
        assert output(list(client.call("read_file", GOOD))) == b"hello\n"
        assert finished(list(client.call("whole", {"name": "you"}))).exit_code == 0
        denied(client, list(client.call("greet1", {"name": "you"})), "UNKNOWN_TOOL")
    # Whoever may not add tools is told of no path of the machine.
    with Client.open(daemon.pair_device("plain", "callers")) as plain:
        told = plain.list_tools().refused
        assert sorted(one.reason for one in told) == sorted(one.reason for one in listed.refused)
        assert not [one for one in told if "/" in str(one) or one.message or one.fix or one.file]
    answer = daemon.cli("tools", "list")
    assert answer.status == 0
    assert "MANIFEST_UNKNOWN_KEY" in answer.err
    assert "verison" in answer.err
    assert '"tool.refused"' in daemon.log


def test_a_tool_comes_and_goes_by_the_command_line(
    shared_daemon: RunningDaemon, tmp_path: Path
) -> None:
    """The folder that the broken ones above resemble is taken in, runs, and leaves receipts."""
    folder = tmp_path / "greet"
    folder.mkdir()
    (folder / "manifest.toml").write_text(WHOLE)
    assert shared_daemon.cli("tools", "add", str(folder)).status == 0
    with shared_daemon.client() as client:
        assert output(list(client.call("greet", {"name": "-n"}))) == b"hello -n\n"
        called = next(one for one in client.list_calls().calls if one.tool == "greet")
        assert called.principal == f"device/{client.credentials.device_id}"
        assert called.principal_name == client.who_am_i().device.name
        assert called.principal_name in shared_daemon.cli("calls", "list").out
        assert shared_daemon.cli("tools", "remove", "greet").status == 0
        denied(client, list(client.call("greet", {"name": "x"})), "UNKNOWN_TOOL")
        kinds = [receipt["kind"] for receipt in ledger(client)]
    assert kinds.count("tool.added") == kinds.count("tool.removed") == 1


def test_a_folder_with_no_name_keeps_no_other_from_being_listed(workspace: Path) -> None:
    """A name that is no text is told as text, and the tools beside it are listed."""
    with running(config_with(workspace)) as daemon:
        (daemon.home.tools / os.fsdecode(b"caf\xe9")).mkdir(parents=True)
        daemon.restart()
        answer = daemon.cli("tools", "list")
    assert answer.status == 0
    assert "run_shell" in answer.out
    assert "caf\\xe9" in answer.err


HOSTILE: dict[str, tuple[Damage, str]] = {
    "a name that is no text": (
        lambda folder: (folder / os.fsdecode(b"caf\xe9")).touch(),
        "not UTF-8",
    ),
    "a file larger than memory": (
        lambda folder: os.truncate(_made(folder / "big"), 1 << 42),
        "8 MiB",
    ),
    "more levels than there are": (
        lambda folder: (folder / "/".join("a" * 12)).mkdir(parents=True),
        "8 levels",
    ),
}


@pytest.mark.parametrize("which", HOSTILE)
def test_what_no_tool_can_have_is_said_before_it_is_read(
    shared_daemon: RunningDaemon, tmp_path: Path, which: str
) -> None:
    """By the command line, with what is wrong, of a folder that somebody else has made."""
    (tmp_path / "manifest.toml").write_text(WHOLE)
    damage, said = HOSTILE[which]
    damage(tmp_path)
    answer = shared_daemon.cli("tools", "add", str(tmp_path))
    assert (answer.status, said in answer.err) == (2, True), answer.err


def _made(path: Path) -> Path:
    path.touch()
    return path
