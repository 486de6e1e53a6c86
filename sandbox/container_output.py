"""What comes out of a container, read from the launcher's own pipes, past the engine.

Trusted to give everything that was written before the end, of either stream, and never to let one
stream keep the other from its turn. The engine's connection is looked at for its end alone: with
it, a container has nobody that would end it with us. Owns the descriptors of the pipes. Raises
nothing but cancellation.
"""

import contextlib
import os
import select
import socket
from collections.abc import Sequence

import anyio

from sandbox.streams import CHUNK
from sandbox.tier import Stream

_STREAMS: tuple[Stream, ...] = ("stdout", "stderr")


class Outputs:
    """Both streams of one container."""

    def __init__(self, pipes: Sequence[int], engine: int) -> None:
        self._pipes = dict(zip(_STREAMS, pipes, strict=True))
        self._engine = engine
        self._over = False
        self._ready = select.epoll()
        for fd in (*pipes, engine):
            self._ready.register(fd, select.EPOLLIN)

    async def read(self) -> tuple[Stream, bytes] | None:
        """A piece of one stream; None at the end of both, or of the engine."""
        while True:
            for stream in tuple(self._pipes):
                if data := self._read(stream):
                    self._pipes[stream] = self._pipes.pop(stream)  # the other's turn is next
                    return stream, data
            if self._over or not self._pipes:
                return None
            await anyio.wait_readable(self._ready.fileno())
            if any(fd == self._engine for fd, _ in self._ready.poll(0)):
                self._look()

    def _read(self, stream: Stream) -> bytes:
        fd = self._pipes[stream]
        try:
            data = os.read(fd, CHUNK)
        except BlockingIOError:
            return b""
        except OSError:
            data = b""
        if not data:
            del self._pipes[stream]
            os.close(fd)
        return data

    def _look(self) -> None:
        try:
            with socket.socket(fileno=os.dup(self._engine)) as connection:
                self._over = not connection.recv(CHUNK)  # what it says is not the tool's
        except BlockingIOError:
            return
        except OSError:
            self._over = True
        if self._over:
            with contextlib.suppress(OSError):
                self._ready.unregister(self._engine)

    def close(self) -> None:
        """Give the descriptors back."""
        self._ready.close()
        for fd in self._pipes.values():
            os.close(fd)
        self._pipes.clear()
