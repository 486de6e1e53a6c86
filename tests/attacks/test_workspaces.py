"""A tool that may write in a workspace, and what it leaves there for later."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from stockade.client import Client
from stockade.v1 import call_pb2
from tests.conftest import config_with
from tests.promises.acting import ALONE, add_tool, apply, python_tool, receipts, run
from tests.running import RunningDaemon, finished, make_directory, output, running

_REST = '[capabilities]\nfilesystem_write = true\n[workspace]\naccess = "write"\n'
_PLANT = b"""#!/bin/sh
mkdir -p .git/hooks; echo planted >.git/hooks/post-commit; echo planted >.envrc
mkdir -p .github/workflows; echo planted >.github/workflows/ci.yml
git init -q below; printf '#!/bin/sh\\n' >below/.git/hooks/post-commit
ls -A; echo made >made
"""


@pytest.fixture
def work() -> Iterator[Path]:
    """A workspace with a repository in it."""
    path = make_directory("stockade-workspace-")
    subprocess.run(["git", "init", "-q", str(path)], check=True)
    for folder in (path, path / ".git"):
        folder.chmod(0o777)
    yield path
    subprocess.run(["rm", "-rf", str(path)], check=True)


@pytest.fixture
def served(work: Path) -> Iterator[RunningDaemon]:
    """A daemon with that workspace."""
    with running(config_with(work)) as daemon:
        with daemon.client() as client:
            apply(client, ALONE)
            add_writer(client)
        yield daemon


def add_writer(client: Client) -> None:
    argv = ["/bin/sh", "/tool/plant.sh"]
    schema = '[input.properties.workspace]\ntype = "string"\n'
    add_tool(
        client, "plant", argv, rest=schema + _REST, sensitivity="0.0", files={"plant.sh": _PLANT}
    )


def test_what_would_act_later_is_not_there(served: RunningDaemon, work: Path) -> None:
    """Of all that a tool planted nothing is left in force; it is told, and recorded."""
    with served.client() as client:
        events = run(client, "plant", workspace="work")
        end = finished(events)
        last = receipts(client, events[0].call_id)[-1]
    assert end.state == call_pb2.CALL_STATE_SUCCEEDED, end
    assert list(end.put_aside) == ["below/.git/hooks/post-commit"]
    assert last["body"]["put_aside"] == ["below/.git/hooks/post-commit"]
    assert {path.name for path in work.iterdir()} == {".git", "below", "made"}
    assert not (work / ".git" / "hooks" / "post-commit").exists()
    assert b".envrc" in output(events)  # what held its place meanwhile


def test_the_command_line_says_so(served: RunningDaemon) -> None:
    """A person at a terminal is told what was put aside."""
    answer = served.cli("call", "plant", "--arg", "workspace=work")
    assert "put aside, as it would act later" in answer.err
    assert "below/.git/hooks/post-commit" in answer.err


def test_a_killed_daemon_leaves_no_stand_in(served: RunningDaemon, work: Path) -> None:
    """After a crash in the middle of a run the next start removes what stood in."""
    with served.client() as client:
        argv = ["/bin/sh", "-c", "echo up; sleep 1000"]
        schema = '[input.properties.workspace]\ntype = "string"\n'
        add_tool(client, "wait", argv, rest=schema + _REST, sensitivity="0.0")
        for event in client.call("wait", {"workspace": "work"}, detach=True):
            if event.HasField("output"):
                break
    assert (work / ".envrc").is_socket()
    served.restart(9)
    assert {path.name for path in work.iterdir()} == {".git"}
    assert "workspace.cleaned" in served.log


def test_the_operator_says_what_is_protected(work: Path) -> None:
    """`protected` replaces the list; what git would run is protected whatever it says."""
    config = config_with(work).replace('access = "write"\n', 'access = "write"\nprotected = []\n')
    with running(config) as daemon, daemon.client() as client:
        apply(client, ALONE)
        add_writer(client)
        assert finished(run(client, "plant", workspace="work")).exit_code == 0
    assert (work / ".envrc").read_text() == "planted\n"
    assert not (work / ".git" / "hooks" / "post-commit").exists()


@pytest.mark.parametrize("name", ["../x", "/etc", ".git/config", ""])
def test_a_list_that_cannot_be_meant(work: Path, name: str) -> None:
    """A path outside, or of git's own, keeps the daemon from starting, with the key."""
    config = config_with(work) + f'protected = ["{name}"]\n'
    daemon = RunningDaemon(make_directory(), config)
    answer = daemon.init()
    said = answer.stderr
    if answer.returncode == 0:
        with pytest.raises(AssertionError) as caught:
            daemon.start()
        said = str(caught.value)
    subprocess.run(["rm", "-rf", str(daemon.root)], check=True)
    assert "workspaces.docs.protected" in said


def test_no_hook_of_the_hosts_git_is_reached_by_more_than_one_step(
    served: RunningDaemon, work: Path
) -> None:
    """Hooks that an included file names, and one that is a link: the host's commit runs neither's
    new content, for there is none.
    """
    for folder in ("githooks", "scripts"):
        (work / folder).mkdir()
        (work / folder / "pre-commit").write_text("#!/bin/sh\necho mine >>ran\n")
        (work / folder / "pre-commit").chmod(0o777)
        (work / folder).chmod(0o777)
    (work / "team").write_text("[core]\n\thooksPath = githooks\n")
    (work / ".git" / "hooks" / "pre-commit").symlink_to("../../scripts/pre-commit")
    script = "for it in githooks scripts; do echo 'echo planted >>ran' >$it/pre-commit; done; true"
    schema = '[input.properties.workspace]\ntype = "string"\n'
    git = ["git", "-c", "safe.directory=*", "-c", "user.name=a", "-c", "user.email=a@b", "-C"]
    subprocess.run([*git, str(work), "config", "include.path", "../team"], check=True)
    with served.client() as client:
        argv = ["/bin/sh", "-c", script]
        add_tool(client, "overwrite", argv, rest=schema + _REST, sensitivity="0.0")
        assert finished(run(client, "overwrite", workspace="work")).reason == "SUCCEEDED"
    for changes in ([], ["-c", "core.hooksPath=.git/hooks"]):
        command = [*git, str(work), *changes, "commit", "--allow-empty", "-qm", "x"]
        subprocess.run(command, check=True)
    assert (work / "ran").read_text() == "mine\nmine\n"


@pytest.mark.parametrize("path", ["a/../b", "..", "../x", "/etc/passwd", "/workspace/a", "a/.."])
def test_no_path_that_policy_would_take_for_another(served: RunningDaemon, path: str) -> None:
    """A policy that says `like "public/*"` means the files in it: other names are refused."""
    with served.client() as client:
        for tool, more in (("read_file", {}), ("list_files", {}), ("write_file", {"content": "x"})):
            end = finished(run(client, tool, workspace="work", path=path, **more))
            assert end.reason == "ARGUMENTS_INVALID", end
        end = finished(run(client, "list_files", workspace="work", path="./.git/..x/a..b"))
        assert end.reason != "ARGUMENTS_INVALID", end


_REPOSITORY = r"""
import os
os.chdir("/workspace")
for _ in range(DEPTH):
    os.mkdir(NAME)
    os.chdir(NAME)
for part in (b".git/hooks", b".git/objects", b".git/refs"):
    os.makedirs(part)
with open(".git/HEAD", "w") as file:
    file.write("ref: refs/heads/x\n")
for number in range(HOOKS):
    with open(f".git/hooks/h{number}", "w") as file:
        file.write("#!/bin/sh\n")
"""
_NAMES = {
    "no text": ('b"sub\\xff"', 1, 1, ["sub\\xff/.git/hooks/h0"]),
    "control characters, deep, and many": ('b"\\x01" * 250', 90, 40, None),
}


@pytest.mark.parametrize("case", _NAMES)
def test_no_name_that_a_tool_chooses_keeps_the_end_of_its_call_out_of_the_ledger(
    served: RunningDaemon, case: str
) -> None:
    """What was put aside is told as text, in part: its receipt is one, whatever the names are."""
    name, depth, hooks, expected = _NAMES[case]
    values = (("NAME", name), ("DEPTH", str(depth)), ("HOOKS", str(hooks)))
    code = _REPOSITORY
    for word, value in values:
        code = code.replace(word, value)
    schema = '[input.properties.workspace]\ntype = "string"\n'
    with served.client() as client:
        python_tool(client, "deep", code, rest=schema + _REST, sensitivity="0.0")
        events = run(client, "deep", workspace="work")
        end, last = finished(events), receipts(client, events[0].call_id)[-1]
    assert end.state == call_pb2.CALL_STATE_SUCCEEDED, end
    assert last["kind"] == "call.succeeded"
    told = list(end.put_aside)
    assert last["body"]["put_aside"] == told
    if expected is None:
        assert told[-1] == "... and 8 more"
        assert {len(one) for one in told[:-1]} == {259}
    else:
        assert told == expected
    assert "Traceback" not in served.log
