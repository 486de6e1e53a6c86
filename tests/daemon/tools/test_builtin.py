"""The tools that come with the daemon, started for real in a folder that plays the workspace."""

from __future__ import annotations

import json
import os
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from daemon.tools.arguments import parse_arguments, validate
from daemon.tools.errors import ArgumentsError
from daemon.tools.invocation import build
from daemon.tools.registry import BUILTIN_TOOLS, Registry, Tool, load
from tests.daemon.tools.support import open_store


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return load(BUILTIN_TOOLS, None, open_store(tmp_path))


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    folder = tmp_path / "workspace"
    folder.mkdir()
    return folder


def tool_named(registry: Registry, name: str) -> Tool:
    tool = registry.get(name)
    assert tool is not None
    return tool


def run(tool: Tool, cwd: Path, **arguments: Any) -> subprocess.CompletedProcess[bytes]:
    parsed = parse_arguments(json.dumps(arguments).encode())
    validate(tool, parsed)
    invocation = build(tool.manifest, parsed)
    return subprocess.run(
        invocation.argv,
        input=invocation.stdin,
        capture_output=True,
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", **invocation.env},
        check=False,
        timeout=90,
    )


def test_every_builtin_loads_and_stays_in_the_process_tier(registry: Registry) -> None:
    """Each builtin's risk, with trusted code, is below the floor of the container tier."""
    assert registry.refused == ()
    assert [tool.name for tool in registry.tools] == [
        "list_files",
        "read_file",
        "run_python",
        "run_shell",
        "write_file",
    ]
    for tool in registry.tools:
        declared = tool.manifest.capabilities
        score = Decimal("0.4") * tool.manifest.risk.data_sensitivity + Decimal("0.1") * sum(
            (declared.network, declared.filesystem_write, declared.external_apis)
        )
        assert score < Decimal("0.3"), tool.name


def test_reading_tools_declare_no_writing(registry: Registry) -> None:
    """The tools that only read mount the workspace read-only and say so."""
    for tool in registry.tools:
        assert tool.manifest.workspace is not None
        writes = tool.name not in ("read_file", "list_files")
        assert tool.manifest.capabilities.filesystem_write is writes
        assert tool.manifest.workspace.access == ("write" if writes else "read")
        assert not tool.manifest.capabilities.network


def test_run_shell_runs_a_command_line(registry: Registry, workspace: Path) -> None:
    """The command is what sh runs, even if it starts like an option."""
    shell = tool_named(registry, "run_shell")
    assert run(shell, workspace, command="echo hi; exit 3").stdout == b"hi\n"
    assert run(shell, workspace, command="echo hi; exit 3").returncode == 3
    assert b"not found" in run(shell, workspace, command="-x echo hi").stderr


def test_run_python_runs_code(registry: Registry, workspace: Path) -> None:
    """The code runs isolated: neither the workspace nor the environment can plant modules."""
    (workspace / "json.py").write_text("print('planted')")
    python = tool_named(registry, "run_python")
    done = run(python, workspace, code="import json, sys; print('é', sys.flags.isolated)")
    assert done.stdout.decode() == "é 1\n"
    assert run(python, workspace, code="-V").returncode == 1


def test_a_file_is_written_and_read_back(registry: Registry, workspace: Path) -> None:
    """What is written is what is read, and writing replaces and echoes nothing."""
    write, read = (tool_named(registry, name) for name in ("write_file", "read_file"))
    for content in ("first, longer", "é\n$(id)\0"):
        done = run(write, workspace, workspace="w", path="a.txt", content=content)
        assert (done.returncode, done.stdout) == (0, b"")
        assert run(read, workspace, workspace="w", path="a.txt").stdout.decode() == content
    assert run(read, workspace, workspace="w", path="a.txt", max_bytes=2).stdout == "é".encode()
    assert run(read, workspace, workspace="w", path="gone").returncode != 0
    assert run(write, workspace, workspace="w", path="no/a", content="").returncode != 0


@pytest.mark.parametrize(
    "path",
    ["-rf", "--help", "-", "-n1", "$(touch x)", "; touch x", "a b", "*", "{content}", "a\nb"],
)
def test_a_path_is_only_ever_a_path(registry: Registry, workspace: Path, path: str) -> None:
    """A path that looks like an option, a script or a pattern names a file and does nothing."""
    write, read, look = (
        tool_named(registry, name) for name in ("write_file", "read_file", "list_files")
    )
    assert run(write, workspace, workspace="w", path=path, content="kept").returncode == 0
    assert os.listdir(workspace) == [path]  # noqa: PTH208
    assert run(read, workspace, workspace="w", path=path).stdout == b"kept"
    (workspace / path).unlink()
    (workspace / path).mkdir()
    (workspace / path / "inside").touch()
    assert b'"inside"' in run(look, workspace, workspace="w", path=path).stdout


def test_a_listing_is_stable_and_unambiguous(registry: Registry, workspace: Path) -> None:
    """One JSON object a line, by name; a name cannot forge a line or follow a link."""
    (workspace / "b.txt").write_bytes(b"12")
    (workspace / "a").mkdir()
    (workspace / "c").symlink_to("/etc/passwd")
    (workspace / 'x\n{"name": "forged"}').touch()
    (workspace / os.fsdecode(b"\xff")).touch()
    os.mkfifo(workspace / "p")
    done = run(tool_named(registry, "list_files"), workspace, workspace="w")
    assert done.stderr == b""
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["name"], row["type"]) for row in rows] == [
        ("a", "folder"),
        ("b.txt", "file"),
        ("c", "link"),
        ("p", "other"),
        ('x\n{"name": "forged"}', "file"),
        ("\\xff", "file"),
    ]
    assert rows[1]["size"] == 2
    missing = run(tool_named(registry, "list_files"), workspace, workspace="w", path="gone")
    assert missing.returncode == 1
    assert missing.stderr == b"list_files: No such file or directory\n"


@pytest.mark.parametrize("name", ["../w", "/", "W", "", "w\n", "w/x"])
def test_a_workspace_is_named_not_located(registry: Registry, name: str) -> None:
    """The workspace argument is a name of the configuration, never a path."""
    for tool in registry.tools:
        given = {"command": "x", "code": "x", "path": "x", "content": "x", "workspace": name}
        fitting = {k: v for k, v in given.items() if k in tool.manifest.input.names}
        with pytest.raises(ArgumentsError):
            validate(tool, parse_arguments(json.dumps(fitting).encode()))
