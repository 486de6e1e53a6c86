"""The one way out of a sandbox: a Unix socket that is bound into every run, of every tier.

There is no proxy behind it yet. Whoever connects is told, in HTTP, that nothing was granted and
why, and is hung up on; nothing that was sent is read further than its first piece. Later, what
stands here decides per host and adds credentials; the sandboxes need not change for it. Bounded: so
many connections at once, each for a moment. Raises OSError when the socket cannot be made.
"""

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from daemon.one_answer import OneAnswer

TARGET = "/run/stockade/egress.sock"
REASON = "EGRESS_NOT_GRANTED"
MAX_CONNECTIONS = 64
MAX_READ = 64 * 1024
SECONDS = 5.0

_BODY = json.dumps(
    {
        "reason": REASON,
        "message": "this run was granted no connection to any host",
        "fix": "this version of Stockade has no way to grant one",
    }
).encode()
ANSWER = (
    b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/json\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
)


class Egress:
    """The door while it is there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def answer(self, reader: asyncio.StreamReader) -> bytes:
        """What every connection gets, when it has said something."""
        await reader.read(MAX_READ)
        return ANSWER


@asynccontextmanager
async def egress(directory: Path) -> AsyncIterator[Egress]:
    """Listens for as long as the context lasts, in a directory of its own."""
    path = directory / "egress.sock"
    with socket.socket(socket.AF_UNIX) as bound:
        _bind(bound, path)
        door = Egress(path)
        answers = OneAnswer(door.answer, most=MAX_CONNECTIONS, seconds=SECONDS)
        server = await asyncio.start_unix_server(answers, sock=bound)
        try:
            yield door
        finally:
            server.close()
            path.unlink(missing_ok=True)


def _bind(bound: socket.socket, path: Path) -> None:
    """By descriptor: an address holds no more than 107 bytes, a path as many as it likes."""
    directory = path.parent
    directory.mkdir(mode=0o711, exist_ok=True)
    directory.chmod(0o711)  # the user that tools run as has to find it, and nothing else
    path.unlink(missing_ok=True)
    handle = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        bound.bind(f"/proc/self/fd/{handle}/{path.name}")
    finally:
        os.close(handle)
    path.chmod(0o666)
    bound.setblocking(False)
