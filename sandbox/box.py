"""One container that waits for its one request: its streams, its groups, its end.

Trusted to take the launcher's word for a tool's end only with the number that was agreed on before
the tool ran, to deliver of each stream exactly what the tool wrote, and to kill the whole container
without asking the engine where that is allowed. Owns the descriptors it was given. Raises
`BoxError` when the container is gone, OSError never.
"""

import contextlib
import os
import socket
from dataclasses import dataclass, field

import anyio

from sandbox import container_group, spawn, streams
from sandbox.cgroup import RunGroup
from sandbox.cgroup_oom import Exhaustion, exhaustion
from sandbox.container_input import open_input, open_outputs
from sandbox.container_mounts import Mounted
from sandbox.container_output import Outputs
from sandbox.docker_engine import Attached
from sandbox.tier import Stream

_STREAMS: dict[int, Stream] = {1: "stdout", 2: "stderr"}
_HEADER = 8


class BoxError(Exception):
    """The container ended, or spoke otherwise than agreed. Becomes ENGINE_FAILURE."""


@dataclass(frozen=True, slots=True)
class Report:
    """How the tool ended, by the launcher's word.

    `kind` is "exit" or "signal" with their number, or "no-files", "no-cwd", "no-limits" or
    "no-program" with the error that kept the tool from starting.
    """

    kind: str
    number: int
    scratch_full: bool


class Trailer:
    """Finds the report at the end of one stream; what comes before it is the tool's."""

    def __init__(self, nonce: bytes) -> None:
        self._nonce = nonce
        self._held = b""
        self.report: Report | None = None

    def feed(self, data: bytes) -> bytes:
        """What of `data` is known to be the tool's."""
        whole = self._held + data
        at = whole.find(self._nonce)
        if at >= 0:
            line, ended, _ = whole[at:].partition(b"\n")
            self._held = whole[at:]
            if ended:
                self.report = _parse(line)
            return whole[:at]
        keep = next((n for n in range(len(self._nonce) - 1, 0, -1) if self._begins(whole, n)), 0)
        self._held = whole[len(whole) - keep :]
        return whole[: len(whole) - keep]

    def finish(self) -> bytes:
        """What was held back, when the stream ended without a report."""
        held, self._held = self._held, b""
        return held

    def _begins(self, data: bytes, count: int) -> bool:
        return data.endswith(self._nonce[:count])


def _parse(line: bytes) -> Report:
    try:
        _, kind, number, scratch = line.split(b" ")
        return Report(kind.decode("ascii"), int(number), scratch == b"full")
    except ValueError:
        raise BoxError("the launcher's report is not one") from None


@dataclass(slots=True)
class Box:
    """A started container, used once."""

    container: str
    mounted: Mounted
    _pid: int
    _fd: int
    _pidfd: int
    group: RunGroup
    exhaustion: Exhaustion | None = None
    nonce: bytes = b""
    _buffer: bytearray = field(default_factory=bytearray)
    _left: int = 0
    _stream: Stream = "stdout"
    _input: int = -1
    _outputs: Outputs | None = None
    _sent: int = 0

    @classmethod
    def of(cls, attached: Attached, mounted: Mounted) -> "Box":
        """Take over what the engine started."""
        group = container_group.find(attached.pid, attached.container)
        told = exhaustion(group)
        name, pid = attached.container, attached.pid
        return cls(name, mounted, pid, attached.streams, _open(attached), group, told)

    async def ready(self) -> None:
        """Wait for the launcher's word."""
        said = b""
        while not said.endswith(b"\n"):
            found = await self.read()
            if found is None:
                raise BoxError(f"the launcher did not start: {_shown(said)}")
            said += found[1]
        word, nonce, *pipes = [*said.split(), b""]
        if word != b"ready" or len(nonce) != 32:
            raise BoxError(f"the launcher did not start: {_shown(said)}")
        self.nonce = nonce
        self._input = open_input(self._pid, self._pidfd)  # now that all it opens is open
        if own := open_outputs(self._pid, self._pidfd, pipes[:-1]):
            self._outputs = Outputs(own, self._fd)

    @property
    def own_streams(self) -> bool:
        """Whether what the tool writes is read past the engine."""
        return self._outputs is not None

    async def died(self) -> None:
        """Wait for the death of its first process; for ever, where that cannot be waited for."""
        if self._pidfd < 0:
            await anyio.sleep_forever()
        await anyio.wait_readable(self._pidfd)

    @property
    def alive(self) -> bool:
        """Whether it still waits: a container that has ended has closed its streams."""
        if self._fd < 0 or self._buffer:
            return False
        try:
            with socket.socket(fileno=os.dup(self._fd)) as peeked:
                peeked.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    async def ran_out_of_memory(self) -> bool:
        """Whether it did, as far as the kernel could tell: its groups may be gone by now."""
        return self.exhaustion is not None and await self.exhaustion.seen()

    def rouse(self, beginning: bytes) -> None:
        """Send what the request will begin with: who waits is awake when the rest of it comes."""
        if self._input >= 0 and not self._sent:
            with contextlib.suppress(OSError):  # whoever runs it learns of it
                self._sent = os.write(self._input, beginning)

    def offer(self, frame: memoryview, stdin: memoryview) -> tuple[memoryview, ...]:
        """Sends of the request and the tool's standard input what is taken at once; the rest.

        The engine's streams are not closed after it: to the launcher their end is the end of us.
        """
        fd = self._fd if self._input < 0 else self._input
        try:
            if rest := streams.offer(fd, frame[self._sent :]):
                return rest, stdin
            if rest := streams.offer(fd, stdin):
                return (rest,)
        except OSError:
            pass  # the engine has gone: whoever reads learns of it
        self._close_input()
        return ()

    async def send(self, rest: tuple[memoryview, ...]) -> None:
        """The rest, as fast as it is taken."""
        fd = self._fd if self._input < 0 else self._input
        with contextlib.suppress(OSError):
            for data in rest:
                left = data
                while left := streams.offer(fd, left):
                    await anyio.wait_writable(fd)
        self._close_input()

    async def read(self) -> tuple[Stream, bytes] | None:
        """A piece of one stream; None at the end of both."""
        if self._outputs is not None:
            return await self._outputs.read()
        while not self._left:
            head = await self._exactly(_HEADER)
            if head is None:
                return None
            self._stream = _STREAMS.get(head[0], "stderr")
            self._left = int.from_bytes(head[4:], "big")
        if not self._buffer and not await self._more():
            return None
        piece = bytes(self._buffer[: min(self._left, streams.CHUNK)])
        del self._buffer[: len(piece)]
        self._left -= len(piece)
        return self._stream, piece

    async def _exactly(self, count: int) -> bytes | None:
        while len(self._buffer) < count:
            if not await self._more():
                return None
        found = bytes(self._buffer[:count])
        del self._buffer[:count]
        return found

    async def _more(self) -> bool:
        try:
            data = await streams.read(self._fd, streams.CHUNK)
        except OSError:  # the engine has gone
            return False
        self._buffer += data
        return bool(data)

    def kill(self) -> bool:
        """Kill every process of the container now; false where only the engine may do that."""
        if self._pidfd < 0:
            return False
        try:
            spawn.kill(self._pidfd)
        except PermissionError:
            return False
        return True

    def _close_input(self) -> None:
        if self._input >= 0:
            os.close(self._input)
            self._input = -1

    def close(self) -> None:
        """Give the descriptors back. The container is the engine's to remove."""
        self._close_input()
        if self._outputs is not None:
            self._outputs.close()
            self._outputs = None
        for fd in (self._fd, self._pidfd):
            if fd >= 0:
                os.close(fd)
        self._fd = self._pidfd = -1
        if self.exhaustion is not None:
            self.exhaustion.close()
            self.exhaustion = None


def _open(attached: Attached) -> int:
    """The first process, by descriptor, if it is certainly the container's."""
    try:
        fd = os.pidfd_open(attached.pid)
    except (OSError, OverflowError):
        return -1
    try:
        with open(f"/proc/{attached.pid}/cgroup", encoding="utf-8") as file:  # noqa: PTH123
            if attached.container in file.read():
                return fd
    except OSError:
        pass  # gone already
    os.close(fd)
    return -1


def _shown(said: bytes) -> str:
    return ascii(said[-300:].decode("utf-8", "replace"))
