"""The page that monitoring reads: `GET /metrics`, on a loopback port of its own.

Trusted to answer nothing else, and to nobody who was led here by a web page: a request has to name
an address of this machine as its host. Nothing that was sent is read further than one request's
head, so many connections are open at once, each for a moment. Raises `StartError` (PORT_IN_USE).
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from daemon.errors import StartError
from daemon.one_answer import OneAnswer

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MAX_CONNECTIONS = 16
MAX_HEAD = 8192
SECONDS = 5.0
_HOSTS = ("127.0.0.1", "localhost", "[::1]")


@asynccontextmanager
async def metrics_page(listen: str, page: Callable[[], bytes]) -> AsyncIterator[str]:
    """Serves it for as long as the context lasts; gives the address."""
    host, _, port = listen.rpartition(":")
    try:
        answers = OneAnswer(_Page(page).answer, most=MAX_CONNECTIONS, seconds=SECONDS)
        server = await asyncio.start_server(answers, host.strip("[]"), int(port), limit=MAX_HEAD)
    except OSError as error:
        raise StartError(
            f"{listen} cannot be listened on: {error.strerror}",
            code="PORT_IN_USE",
            fix="set another `listen` under [metrics] in config.toml, or end what listens there",
        ) from None
    async with server:
        yield f"{host}:{server.sockets[0].getsockname()[1]}"


class _Page:
    def __init__(self, page: Callable[[], bytes]) -> None:
        self._page = page

    async def answer(self, reader: asyncio.StreamReader) -> bytes:
        """What the one request of a connection gets."""
        head = await reader.readuntil(b"\r\n\r\n")
        return self._response(head.decode("latin-1"))

    def _response(self, head: str) -> bytes:
        request, *fields = head.split("\r\n")
        hosts = [line.partition(":")[2].strip() for line in fields if line.lower()[:5] == "host:"]
        if len(hosts) != 1 or not _is_here(hosts[0]):
            return _response("421 Misdirected Request", b"this page is for this machine\n")
        method, _, rest = request.partition(" ")
        if rest.split(" ")[0].split("?")[0] != "/metrics":
            return _response("404 Not Found", b"/metrics is all there is\n")
        if method != "GET":
            return _response("405 Method Not Allowed", b"it can only be read\n")
        return _response("200 OK", self._page(), CONTENT_TYPE)


def _is_here(host: str) -> bool:
    name, colon, port = host.rpartition(":")
    return host in _HOSTS or (bool(colon) and name in _HOSTS and port.isdecimal())


def _response(status: str, body: bytes, kind: str = "text/plain") -> bytes:
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\nX-Content-Type-Options: nosniff\r\n\r\n"
    )
    return head.encode() + body
