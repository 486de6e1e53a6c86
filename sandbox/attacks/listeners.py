"""What listens outside while an attack tries to reach it, and writes down who did.

Listeners are on loopback, or are Unix sockets, and live as long as their context.
"""

import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio

from sandbox.attacks.attack import Seen


class Listener:
    """A socket that answers, and whatever was said to it."""

    def __init__(self, sock: socket.socket, handed: Path | None = None) -> None:
        self._sock = sock
        self._handed = handed
        self.heard: list[str] = []

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._sock.getsockname()[1])

    async def effect(self, _seen: Seen) -> str:
        """Whether anybody came since this was last asked."""
        heard, self.heard = self.heard, []
        return "it reached a listener outside" if heard else ""

    async def serve(self) -> None:
        """Answer until cancelled."""
        while True:
            await anyio.wait_readable(self._sock)
            if self._sock.type == socket.SOCK_DGRAM:
                data, address = self._sock.recvfrom(256)
                self.heard.append(data.decode(errors="replace"))
                self._sock.sendto(b"heard", address)
                continue
            connection, _ = self._sock.accept()
            with connection, anyio.move_on_after(2):
                await self._answer(connection)

    async def _answer(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        if self._handed is not None:
            descriptor = os.open(self._handed, os.O_RDONLY | os.O_CLOEXEC)
            try:
                socket.send_fds(connection, [b"here"], [descriptor])
            finally:
                os.close(descriptor)
            return
        await anyio.wait_readable(connection)
        self.heard.append(connection.recv(256).decode(errors="replace"))
        connection.send(b"heard")


@asynccontextmanager
async def listening(sock: socket.socket, handed: Path | None = None) -> AsyncIterator[Listener]:
    """`sock`, bound already, listens for as long as the context lasts."""
    with sock:
        sock.setblocking(False)
        if sock.type != socket.SOCK_DGRAM:
            sock.listen()
        listener = Listener(sock, handed)
        async with anyio.create_task_group() as group:
            group.start_soon(listener.serve)
            yield listener
            group.cancel_scope.cancel()


def on_loopback(kind: socket.SocketKind) -> socket.socket:
    """A socket on a free port of loopback."""
    sock = socket.socket(socket.AF_INET, kind)
    sock.bind(("127.0.0.1", 0))
    return sock


def on_path(path: Path) -> socket.socket:
    """A Unix socket that everybody may connect to."""
    sock = socket.socket(socket.AF_UNIX)
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        # A socket's address has 108 bytes at most; a path may have more.
        sock.bind(f"/proc/self/fd/{folder}/{path.name}")
    finally:
        os.close(folder)
    path.chmod(0o777)
    return sock
