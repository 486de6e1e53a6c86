"""The standard streams of a run: bounded out, concurrent in, with back-pressure.

Trusted to deliver at most the output cap, to know exactly whether the tool wrote one byte more,
never to hold more than one chunk per stream, and to leave others their turn however much comes.
What the tool writes is bytes: nothing here decodes it. A sink's exception is kept for the caller;
nothing else leaves.
"""

import contextlib
import fcntl
import hashlib
import hmac
import os
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio
import anyio.lowlevel

from sandbox.outcome import OutputDigest
from sandbox.tier import OutputSink, Stream

CHUNK = 64 * 1024
# Each chunk has its price, and a tool that writes byte by byte does not pay it. After so many that
# were as small, more of them are let come together first.
SMALL, FEW = 512, 64
TOGETHER_SECONDS = 0.01
# As much work as so many bytes, before there are any: after eight small chunks or one that is whole
# it is the others' turn, since more of them may always be there at once.
_EACH = CHUNK // 8
HEAD = 1024


@dataclass(slots=True)
class Tally:
    """What was delivered of one stream."""

    count: int = 0
    state: "hashlib._Hash | hmac.HMAC" = field(default_factory=hashlib.sha256, repr=False)

    def add(self, data: bytes) -> None:
        """One delivered chunk."""
        self.count += len(data)
        self.state.update(data)

    @property
    def digest(self) -> OutputDigest:
        """Of everything so far."""
        return OutputDigest(f"sha256:{self.state.hexdigest()}")

    def forget(self) -> None:
        """Push what was written last out of the hash, which would keep up to a block of it."""
        self.state.update(bytes(2 * self.state.block_size))


class Output:
    """Both output streams of one run, under one cap."""

    def __init__(self, cap: int, sink: OutputSink, exceeded: Callable[[], None]) -> None:
        self._left = cap
        self._sink = sink
        self._exceeded = exceeded
        self.failure: Exception | None = None
        self.tallies: dict[Stream, Tally] = {"stdout": Tally(), "stderr": Tally()}
        self._small: dict[Stream, int] = {"stdout": 0, "stderr": 0}
        self._at_once = 0
        self._head = bytearray(HEAD)
        self._head_length = 0

    @property
    def stderr_head(self) -> str:
        """How standard error began."""
        return self._head[: self._head_length].decode("utf-8", "replace")

    def forget(self) -> None:
        """Overwrite what is left here of the output: a tool may have printed a secret."""
        self._head[:] = bytes(HEAD)
        self._head_length = 0
        for tally in self.tallies.values():
            tally.forget()

    async def pump(self, fd: int, stream: Stream, failed: Callable[[], None]) -> None:
        """Deliver one stream until it ends, the cap is passed or the sink fails."""
        try:
            while await self._chunk(fd, stream):
                pass
        except Exception as error:  # noqa: BLE001 - the sink's own, handed back by `run`
            self.failure = self.failure or error
            failed()

    async def _chunk(self, fd: int, stream: Stream) -> bool:
        # One byte more than allowed, so that the cap itself is not taken for an excess.
        data = await read(fd, min(CHUNK, self._left + 1))
        if not data or not await self.deliver(stream, data):
            return False
        await self.pass_turn(len(data))
        self._small[stream] = self._small[stream] + 1 if len(data) < SMALL else 0
        if self._small[stream] > FEW:
            await anyio.sleep(TOGETHER_SECONDS)
        return True

    async def pass_turn(self, size: int) -> None:
        """After a chunk: let others have their turn, if this one has had its own."""
        self._at_once += _EACH + size
        if self._at_once >= CHUNK:
            self._at_once = 0
            await anyio.lowlevel.checkpoint()

    async def deliver(self, stream: Stream, data: bytes) -> bool:
        """Pass on what the cap allows; false once it is passed."""
        allowed = data[: self._left]
        # Before the await: the other stream draws on the same cap meanwhile.
        self._left -= len(allowed)
        if allowed:
            if stream == "stderr" and self._head_length < HEAD:
                self._keep_head(memoryview(allowed))
            self.tallies[stream].add(allowed)
            await self._sink(stream, allowed)
        if len(allowed) < len(data):
            self._exceeded()
            return False
        return True

    def _keep_head(self, data: memoryview) -> None:
        began = data[: HEAD - self._head_length]
        with memoryview(self._head) as head:  # straight to its place: no copy is left behind
            head[self._head_length : self._head_length + len(began)] = began
        self._head_length += len(began)


async def read(fd: int, size: int) -> bytes:
    """Some bytes of a non-blocking descriptor; empty at its end."""
    while True:
        try:
            return os.read(fd, size)
        except BlockingIOError:
            await anyio.wait_readable(fd)


def offer(fd: int, data: memoryview) -> memoryview:
    """Write what fits into the pipe now; the rest. A reader that is gone wants nothing more."""
    while data:
        try:
            data = data[os.write(fd, data) :]
        except BlockingIOError:
            return data
        except BrokenPipeError:
            return data[:0]
    return data


async def feed(fd: int, data: memoryview, close: Callable[[int], None]) -> None:
    """Write all of standard input as the tool reads it, then close it.

    Cancelled, it leaves it open, until the tool is dead: to a tool that still runs, the end of what
    was sent would be the end of what it was given, and it would act on half of that.
    """
    while data := offer(fd, data):
        await anyio.wait_writable(fd)
    close(fd)


def widen(fd: int, size: int) -> None:
    """Have a pipe take so much at once, as far as the kernel lets it."""
    with contextlib.suppress(OSError):
        if size > fcntl.fcntl(fd, fcntl.F_GETPIPE_SZ):
            fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, size)
