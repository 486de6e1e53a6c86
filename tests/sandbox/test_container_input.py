"""The way into a container that does not lead through the engine: that pipe, or none."""

import hashlib
import os
import signal
import subprocess

import pytest

from sandbox.container_input import open_input
from tests.sandbox.conftest import ContainerRunner, shell
from tests.sandbox.test_containers import kept
from tests.sandbox.test_in_place import ran

pytestmark = pytest.mark.anyio


async def test_what_is_sent_does_not_pass_the_engine(box: ContainerRunner) -> None:
    """Request and input go straight into the container, whole, also where a pipe takes less."""
    if os.geteuid() != 0:
        pytest.skip("only root may look at the descriptors of a container")
    whole = os.urandom(3 * 2**20)
    spec = shell("sha256sum", stdin=whole)
    async with kept(box):
        assert await box.sandbox.warm(spec)
        (shelf,) = box.sandbox._pool._shelves.values()
        assert all(one._input >= 0 for one, _ in shelf.boxes)
        out, how = await ran(box, spec)
    assert how == "started ahead, used once"
    assert out.split()[0].decode() == hashlib.sha256(whole).hexdigest()


async def test_without_leave_to_look_the_engine_takes_it(
    box: ContainerRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon that may not see a container's descriptors sends all of it by the engine."""
    monkeypatch.setattr("sandbox.box.open_input", lambda *_: -1)
    out, _ = await ran(box, shell("cat", stdin=b"by the engine"))
    assert out == b"by the engine"


def test_no_other_pipe_is_opened() -> None:
    """Two pipes that are only read from, one that has ended, none at all: none is taken."""
    one, other = os.pipe(), os.pipe()
    waits = "import sys; sys.stdin.read()"
    with subprocess.Popen(
        ["/usr/bin/python3", "-I", "-S", "-c", waits], stdin=one[0], pass_fds=[other[0]]
    ) as child:
        pidfd = os.pidfd_open(child.pid)
        assert open_input(child.pid, pidfd) == -1
        assert open_input(child.pid, -1) == -1
        os.close(one[1])
    assert open_input(child.pid, pidfd) == -1
    with subprocess.Popen(["/usr/bin/sleep", "60"], stdin=other[0]) as child:
        living = os.pidfd_open(child.pid)
        found = open_input(child.pid, living)
        assert os.fstat(found).st_ino == os.fstat(other[0]).st_ino
        assert open_input(child.pid, pidfd) == -1  # the process that was meant has ended
        child.send_signal(signal.SIGKILL)
    for fd in (one[0], *other, pidfd, living, found):
        os.close(fd)
