"""One GET over a connection of its own, of which neither the token nor the answer stays in memory.

The standard client would do but for its buffers, which are given back as they were: so the request
is written here, and what comes is received into memory that is overwritten. Reading the answer is
the standard library's. HTTP/1.0: no chunks, and the connection ends with the answer. All of it has
to come in the time that is given, also from who sends a byte at a time. No redirect is followed,
and no proxy of the environment's is used. Raises OSError (`ssl.SSLError` among them) and
`http.client.HTTPException`.
"""

import http.client
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from vault.burn import burn

MAX_HEAD: Final = 128 * 1024
# Of OpenSSL 3.0 and later; before, the bit says nothing. Not among the names of Python's module.
_OP_CLEANSE_PLAINTEXT: Final = 0x2


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered; the body is the caller's to overwrite."""

    status: int
    body: bytes


def get(
    address: str, target: str, headers: Mapping[str, str], *, seconds: float, most: int,
    context: ssl.SSLContext | None,
) -> Answer:  # fmt: skip
    """The answer, of whose body one byte more than `most` is read. Headers have no line breaks."""
    parts = urlsplit(address)
    lines = [f"GET {target} HTTP/1.0", f"Host: {parts.netloc}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    text = "\r\n".join([*lines, "", ""])
    request, ends = text.encode("ascii"), time.monotonic() + seconds
    burn(text, *lines[2:])
    try:
        port = parts.port or (http.client.HTTP_PORT if context is None else http.client.HTTPS_PORT)
        with socket.create_connection((parts.hostname, port), seconds) as plain:
            if context is None:
                return _exchanged(plain, request, most, ends)
            with context.wrap_socket(plain, server_hostname=parts.hostname) as secure:
                return _exchanged(secure, request, most, ends)
    finally:
        burn(request)


def trusting(authority_file: str) -> ssl.SSLContext:
    """What verifies servers, by the authorities of that file, else the system's."""
    context = ssl.create_default_context(cafile=authority_file or None)
    context.options |= _OP_CLEANSE_PLAINTEXT
    return context


def _exchanged(connection: socket.socket, request: bytes, most: int, ends: float) -> Answer:
    connection.sendall(request)
    received = _Received(connection, most, ends)
    try:
        answer = http.client.HTTPResponse(received)  # type: ignore[arg-type]  # makefile is all
        answer.begin()
        return Answer(answer.status, answer.read(most + 1))
    finally:
        received.close()


class _Received:
    """What comes from a connection, as the file that the standard library reads."""

    def __init__(self, connection: socket.socket, most: int, ends: float) -> None:
        self._connection = connection
        self._ends = ends
        self._memory = bytearray(MAX_HEAD + most + 1)  # as large as it gets: growing would copy
        self._read = self._filled = 0

    def makefile(self, mode: str) -> "_Received":
        """Itself; asked once."""
        assert mode == "rb"  # noqa: S101 - the standard library's one use
        return self

    def readline(self, limit: int) -> bytes:
        """To the end of a line, of the limit, or of what comes."""
        while (end := self._memory.find(b"\n", self._read, self._filled)) < 0:
            if self._filled - self._read >= limit or not self._receive():
                end = self._filled - 1
                break
        return self._taken(min(end + 1 - self._read, limit))

    def read(self, size: int) -> bytes:
        """So many bytes, or all that come."""
        while self._filled - self._read < size and self._receive():
            pass
        return self._taken(min(size, self._filled - self._read))

    def flush(self) -> None:
        """Nothing is written here."""

    def close(self) -> None:
        """Overwrites what was received."""
        burn(memoryview(self._memory)[: self._filled])

    def _receive(self) -> bool:
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._connection.settimeout(left)
        with memoryview(self._memory)[self._filled :] as rest:
            count = self._connection.recv_into(rest) if rest else 0
        self._filled += count
        return count > 0

    def _taken(self, size: int) -> bytes:
        start, self._read = self._read, self._read + size
        return bytes(memoryview(self._memory)[start : self._read])
