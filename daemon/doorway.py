"""Doors: plain TCP listeners in front of gRPC's, which can then only be reached through them.

Two kinds of listener need one: for pairing, strangers are counted before they cost a handshake; and
a socket that the service manager listens on cannot be given to gRPC itself (docs/adr/0027). gRPC
listens on a socket in the data directory. Trusted so that no source has more than its share, over
all doors together: so many connections at once, so many a minute; who comes beyond is hung up on,
unread. Bytes are passed on as they are: TLS is between device and gRPC, nothing of it is seen here.
What a source is, is `daemon.source`'s. Raises `OSError` when it cannot listen.
"""

import asyncio
import errno
import ipaddress
import os
import secrets
import socket
import stat
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import anyio
from anyio.abc import TaskGroup

from daemon.rates import Kind, Rates, TooOften
from daemon.source import LEFT, peer_at, source_of

# One attempt takes two: to see the certificate, and to pair. So do several devices behind one NAT.
MAX_OF_A_SOURCE = 8
MAX_CONNECTIONS = 128
CHUNK = 65_536
BACKLOG = 64
LEAVE_SECONDS = 1.0
# What gRPC calls a peer that came through the door, up to what makes it one: that nobody can know,
# since whoever is on this machine may take any such name before us.
PEER = "stockade-door-"
_FULL = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_FULL_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who came by a door: the address as gRPC writes them, and what it is counted as."""

    address: str
    source: str


@dataclass(eq=False, slots=True)
class _Door:
    """One door, while it is open and until the last who came by it is out."""

    listener: socket.socket
    inner: Path
    open: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    left: anyio.Event = field(default_factory=anyio.Event)


class Doorway:
    """Doors that count together, in the daemon's task group.

    `rates` counts connections, as `Kind.PAIRING`; without it only those that are open count.
    """

    def __init__(
        self,
        group: TaskGroup,
        rates: Rates | None,
        *,
        of_a_source: int = MAX_OF_A_SOURCE,
        at_once: int = MAX_CONNECTIONS,
    ) -> None:
        self._group = group
        self._rates = rates
        self._of_a_source = of_a_source
        self._at_once = at_once
        self._inside: Counter[str] = Counter()
        self._visitors: dict[str, Visitor] = {}
        # Whoever is on this machine may take any name, but not know this one before a door is used.
        self._names = f"{PEER}{secrets.token_hex(8)}-"

    def visitor(self, peer: str) -> Visitor | None:
        """The peer of that name of gRPC's; None for one that did not come by a door."""
        return self._visitors.get(peer.removeprefix("unix-abstract:"))

    def origin_of(self, peer: str) -> str:
        """The address of a peer as gRPC would call it, by a door or not; `LEFT` once it is out."""
        visitor = self.visitor(peer)
        if visitor is not None:
            return visitor.address
        return LEFT if peer.startswith(f"unix-abstract:{self._names}") else peer

    @asynccontextmanager
    async def open(self, host: str, inner: Path) -> AsyncIterator[int]:
        """A door to the listener at `inner` for as long as the context lasts; gives its port.

        Whoever is inside when it closes has a moment to hear the last word.
        """
        listener = _listen(host)
        async with self.before(listener, inner):
            yield listener.getsockname()[1]

    @asynccontextmanager
    async def before(self, listener: socket.socket, inner: Path) -> AsyncIterator[None]:
        """The same with a socket that listens already; it is closed at the end."""
        door = _Door(listener, inner)
        self._group.start_soon(self._serve, door)
        try:
            yield
        finally:
            door.open.cancel()
            with anyio.CancelScope(shield=True):
                await door.left.wait()

    async def _serve(self, door: _Door) -> None:
        try:
            async with anyio.create_task_group() as inside:
                with door.listener, door.open:
                    await self._accept(door, inside)
                inside.cancel_scope.deadline = anyio.current_time() + LEAVE_SECONDS
        finally:
            door.left.set()

    async def _accept(self, door: _Door, inside: TaskGroup) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(door.listener)
            except OSError as error:
                if error.errno in _FULL:
                    await anyio.sleep(_FULL_SECONDS)
                continue
            visitor = _visitor(*address[:2])
            if self._lets_in(visitor.source):
                # What is passed on was written whole: waiting for more of it would only take time.
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                inside.start_soon(self._pass, connection, visitor, door.inner)
            else:
                connection.close()

    def _lets_in(self, source: str) -> bool:
        if self._inside[source] >= self._of_a_source or self._inside.total() >= self._at_once:
            return False
        try:
            if self._rates is not None:
                self._rates.take(source, Kind.PAIRING)
        except TooOften:
            return False
        self._inside[source] += 1
        return True

    async def _pass(self, outer: socket.socket, visitor: Visitor, inner: Path) -> None:
        name = f"{self._names}{secrets.token_hex(16)}"
        self._visitors[name] = visitor
        try:
            with outer, socket.socket(socket.AF_UNIX) as within, suppress(OSError):
                within.bind(f"\0{name}")  # by this gRPC knows it
                within.setblocking(False)
                await asyncio.get_running_loop().sock_connect(within, str(inner))
                async with anyio.create_task_group() as both:
                    both.start_soon(_pump, outer, within, both.cancel_scope)
                    both.start_soon(_pump, within, outer, both.cancel_scope)
        finally:
            del self._visitors[name]
            self._inside[visitor.source] -= 1
            if not self._inside[visitor.source]:
                del self._inside[visitor.source]


@contextmanager
def inner_place(data: Path, name: str) -> Iterator[Path]:
    """Where gRPC listens: a socket in the data directory, which is this user's alone."""
    with place_in(data, f"{name}-{secrets.token_hex(4)}.sock") as inner:
        yield inner


@contextmanager
def place_in(data: Path, name: str) -> Iterator[Path]:
    """A socket of that name in a directory; it is removed at the end, and nothing else is.

    By way of the directory's descriptor, since the path of a socket has at most 107 bytes.
    """
    folder = os.open(data, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    place = Path(f"/proc/self/fd/{folder}/{name}")
    try:
        yield place
    finally:
        with suppress(OSError):  # it is in nobody's way: the next one replaces it
            if stat.S_ISSOCK(place.lstat().st_mode):
                place.unlink()
        os.close(folder)


def _visitor(host: str, port: int) -> Visitor:
    return Visitor(peer_at(host, port), source_of(host))


async def _pump(source: socket.socket, sink: socket.socket, both: anyio.CancelScope) -> None:
    """Passes on until either end is done; then neither has anything left to hear."""
    loop = asyncio.get_running_loop()
    with suppress(OSError):
        while data := await loop.sock_recv(source, CHUNK):
            await loop.sock_sendall(sink, data)
    both.cancel()


def _listen(host: str) -> socket.socket:
    """A listening socket on a free port."""
    bare = host.strip("[]")
    family, _, _, _, address = socket.getaddrinfo(bare, 0, type=socket.SOCK_STREAM)[0]
    name = str(address[0])
    # Every address of both kinds, as gRPC takes it for the daemon's own port.
    every = ipaddress.ip_address(name.partition("%")[0]).is_unspecified
    if every and socket.has_dualstack_ipv6():
        made = socket.create_server(
            ("::", 0), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True
        )
    else:
        made = socket.create_server((name, 0), family=family, backlog=BACKLOG)
    made.setblocking(False)
    return made
