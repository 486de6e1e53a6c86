"""A tool leaves a program in its workspace that would give its rights to whoever starts it."""

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from stockade.v1 import call_pb2, tool_pb2
from tests.host import missing
from tests.promises.acting import ALONE, apply, run, working_tiers
from tests.running import WITH_ENGINES, RunningDaemon, finished, output, running

FLOORS = {
    "process": "",
    "container": "[risk]\ncontainer_floor = 0\n",
    "gvisor": "[risk]\ncontainer_floor = 0\ngvisor_floor = 0\n",
}
PYTHON = ["/usr/bin/python3", "-I", "-S", "-X", "utf8"]
MANIFEST = 'name = "leaves"\nversion = "1"\nsummary = "s"\nruntime = "python"\n'
TAKES_WORKSPACE = """
[input]
type = "object"
required = ["workspace"]
[input.properties.workspace]
type = "string"
[workspace]
access = "write"
[capabilities]
filesystem_write = true
[risk]
data_sensitivity = 0.1
"""
MAKES = "open('mine', 'w').close()"
# By a shell's ways and by those that a program has besides.
LEAVES = """
import ctypes, os, stat
libc = ctypes.CDLL(None)
for mode in (0o4755, 0o2755):
    for way in (
        lambda: os.chmod("mine", mode),
        lambda: os.close(os.open(f"new-{mode}", os.O_CREAT | os.O_WRONLY, mode)),
        lambda: os.mknod(f"node-{mode}", stat.S_IFREG | mode),
        # fchmodat2 and openat2
        lambda: libc.syscall(452, -100, b"mine", mode, 0),
        lambda: libc.syscall(437, -100, b"how", (ctypes.c_ulong * 3)(65, mode), 24),
    ):
        try:
            way()
        except OSError:
            pass
print("tried")
"""


@pytest.fixture
def left(workspace: Path, request: pytest.FixtureRequest) -> Iterator[RunningDaemon]:
    """A daemon that runs everything in one tier, in a workspace to write in."""
    config = WITH_ENGINES + f'[workspaces.work]\npath = "{workspace}"\naccess = "write"\n'
    with running(config + FLOORS[request.param]) as daemon:
        with daemon.client() as client:
            apply(client, ALONE + "permit (principal, action, resource);")
            if not working_tiers(client)[request.param]:
                missing(request.param)
        yield daemon


@pytest.mark.parametrize("left", FLOORS, indirect=True)
def test_no_program_is_left_that_gives_its_rights_to_whoever_starts_it(
    left: RunningDaemon, workspace: Path
) -> None:
    """On the host it would run as the user that tools are there: without root, the daemon's."""
    command = "cp /bin/true mine && chmod u+s mine; chmod g+s mine; chmod 4755 mine;"
    command += f" /usr/bin/python3 -I -S -c {shlex.quote(LEAVES)}"
    with left.client() as client:
        events = run(client, "run_shell", command=command, workspace="work")
    assert finished(events).state == call_pb2.CALL_STATE_SUCCEEDED
    assert output(events).endswith(b"tried\n")
    assert "mine" in giving_rights(workspace, given=0)
    assert giving_rights(workspace) == []


@pytest.mark.parametrize("left", FLOORS, indirect=True)
def test_nor_does_python_that_is_run_in_place_leave_one(
    left: RunningDaemon, workspace: Path
) -> None:
    """In the container tiers it is the launcher's own process, which was there before the tool."""
    manifest = (
        MANIFEST + f"argv = {json.dumps([*PYTHON, '-c', MAKES + LEAVES])}\n" + TAKES_WORKSPACE
    )
    sent = tool_pb2.AddToolRequest.File(path="manifest.toml", content=manifest.encode())
    with left.client() as client:
        client.add_tool([sent])
        events = run(client, "leaves", workspace="work")
    assert finished(events).state == call_pb2.CALL_STATE_SUCCEEDED
    assert output(events).endswith(b"tried\n")
    assert "mine" in giving_rights(workspace, given=0)
    assert giving_rights(workspace) == []


def giving_rights(workspace: Path, given: int = 0o6000) -> list[str]:
    """The files there that have one of these bits; with none given, all."""
    modes = {path.name: path.stat().st_mode for path in workspace.iterdir()}
    return [name for name, mode in modes.items() if not given or mode & given]
