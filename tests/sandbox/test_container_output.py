"""The way out of a container that does not lead through the engine: those pipes, or none."""

import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import closing

import anyio
import pytest

from sandbox.box import Box, Report
from sandbox.cgroup import NoGroup
from sandbox.container_input import open_outputs
from sandbox.container_mounts import Mounted
from sandbox.container_output import Outputs
from sandbox.container_settings import ContainerSettings
from sandbox.container_watch import ContainerWatch
from sandbox.frame import PYTHON
from sandbox.streams import CHUNK
from sandbox.tier import Stream
from tests.sandbox.conftest import ContainerRunner, limits, make_spec, python, shell
from tests.sandbox.test_containers import kept
from tests.sandbox.test_in_place import ran
from tests.sandbox.turns import Turns

pytestmark = pytest.mark.anyio

_MUCH = 3 * 2**20
_LISTED = "ls -l /proc/$$/fd"
_LISTED_BY_PYTHON = """
import os
for fd in os.listdir('/proc/self/fd'):
    try: print(os.readlink('/proc/self/fd/' + fd))
    except FileNotFoundError: pass
"""


async def test_what_is_written_does_not_pass_the_engine(box: ContainerRunner) -> None:
    """Both streams come whole from the launcher's own pipes, where the host can see them."""
    if os.geteuid() != 0:
        pytest.skip("only root may look at the descriptors of a container")
    turns = f"import sys\nfor _ in range({_MUCH >> 16}):\n"
    code = turns + " for to in (sys.stdout, sys.stderr): to.buffer.write(b'x' * 65536)"
    spec = python(code, limits=limits(output_bytes=4 * _MUCH))
    async with kept(box):
        assert await box.sandbox.warm(spec)
        (shelf,) = box.sandbox._pool._shelves.values()
        own = not box.settings.gvisor  # whose pipes are its own kernel's
        assert all(one.own_streams == own for one, _ in shelf.boxes)
        _, sink = await box(spec)
    assert (sink.out, sink.err) == (b"x" * _MUCH, b"x" * _MUCH)


async def test_without_leave_to_look_the_engine_brings_it(
    box: ContainerRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon that may not see a container's descriptors gets all of it by the engine."""
    monkeypatch.setattr("sandbox.box.open_outputs", lambda *_: ())
    outcome, sink = await box(shell("echo out; echo err >&2; exit 3"))
    assert (sink.out, sink.err, outcome.exit_code) == (b"out\n", b"err\n", 3)


@pytest.mark.parametrize("seen", [True, False])
async def test_a_tool_has_its_two_streams_and_no_pipe_besides(
    box: ContainerRunner, monkeypatch: pytest.MonkeyPatch, seen: bool
) -> None:
    """Whichever way is taken, of the launcher's pipes a tool has nothing but where it writes."""
    if not seen:
        monkeypatch.setattr("sandbox.box.open_outputs", lambda *_: ())
    for spec in (shell(_LISTED), make_spec(*PYTHON, "-c", _LISTED_BY_PYTHON, python=True)):
        out, _ = await ran(box, spec)
        assert len([line for line in out.decode().split() if "pipe:" in line]) <= 3
    if not box.settings.gvisor:
        assert (await ran(box, shell("readlink /proc/1/fd/* || true")))[0] == b""


@pytest.fixture
def way() -> Iterator[tuple[Outputs, list[int], socket.socket]]:
    """The pipes, where they are written, and the engine's end of its connection."""
    pipes = [os.pipe(), os.pipe()]
    for read, _ in pipes:
        os.set_blocking(read, False)
    ours, engine = socket.socketpair()
    ours.setblocking(False)
    outputs = Outputs([read for read, _ in pipes], ours.fileno())
    with ours, engine, closing(outputs):
        yield outputs, [written for _, written in pipes], engine
    for _, written in pipes:
        os.close(written)


Way = tuple[Outputs, list[int], socket.socket]


async def test_no_stream_keeps_the_other_from_its_turn(way: Way) -> None:
    """One that always has more is read in turn with the other."""
    outputs, (out, err), _ = way
    os.write(out, bytes(CHUNK))
    assert await outputs.read() == ("stdout", bytes(CHUNK))
    os.write(out, b"more")
    os.write(err, b"little")
    assert await outputs.read() == ("stderr", b"little")
    assert await outputs.read() == ("stdout", b"more")


async def test_what_was_written_before_the_engines_end_is_read(way: Way) -> None:
    """The engine's end is the end, once all that lay in the pipes is read; its words are not."""
    outputs, (out, _), engine = way
    engine.sendall(b"not the tool's")
    with anyio.move_on_after(0.05) as waited:
        await outputs.read()
    assert waited.cancelled_caught
    os.write(out, b"said")
    engine.close()
    assert [await outputs.read(), await outputs.read()] == [("stdout", b"said"), None]


async def test_what_the_engine_brings_in_small_pieces_keeps_nobody_from_a_turn() -> None:
    """Its pieces are read many at a time; after a few of them it is the others' turn."""
    between, (ours, engine) = Turns(), socket.socketpair()
    ours.setblocking(False)
    box = Box("c", Mounted("c"), -1, ours.detach(), -1, NoGroup(), nonce=b"n" * 32)

    async def take(_stream: Stream, _data: bytes) -> None:
        between.one_more()

    async def kill() -> None:
        pass

    watch = ContainerWatch(shell("true"), ContainerSettings("abcd"), box, take, kill)
    with engine, closing(box):
        engine.sendall(b"".join([piece(1, b"x") * 1000, *(piece(n, REPORT) for n in (1, 2))]))
        async with between.others():
            await watch.run(memoryview(b"told"))
    assert watch.report == Report("exit", 0, scratch_full=False)
    assert between.count == 1000
    assert between.most <= 8


REPORT = b"n" * 32 + b" exit 0 free\n"


def piece(stream: int, data: bytes) -> bytes:
    """As the engine has it."""
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


def test_nothing_but_pipes_of_that_process_is_opened() -> None:
    """A file, no number, one that is not there, a process that has ended: none is taken."""
    one, other = os.pipe(), os.pipe()
    numbers = [b"%d" % fd for fd in (one[0], other[0])]
    with subprocess.Popen(["/usr/bin/sleep", "60"], pass_fds=(one[0], other[0])) as child:
        pidfd = os.pidfd_open(child.pid)
        found = open_outputs(child.pid, pidfd, numbers)
        assert [os.fstat(fd).st_ino for fd in found] == [
            os.fstat(fd).st_ino for fd in (one[0], other[0])
        ]
        with open("/etc/passwd", "rb") as file:  # noqa: PTH123 - its number is what is asked for
            us, ours = os.getpid(), os.pidfd_open(os.getpid())
            assert open_outputs(us, ours, [numbers[0], b"%d" % file.fileno()]) == ()
        for wrong in (b"../fd/0", b"-1", b"", b"9999"):
            assert open_outputs(child.pid, pidfd, [numbers[0], wrong]) == ()
        assert open_outputs(child.pid, -1, numbers) == ()
        assert open_outputs(child.pid, pidfd, []) == ()
        child.kill()
    assert open_outputs(us, pidfd, numbers) == ()
    for fd in (*one, *other, *found, pidfd, ours):
        os.close(fd)
