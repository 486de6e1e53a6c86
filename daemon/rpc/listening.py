"""Where gRPC listens: the configured address, or behind the sockets of the service manager.

gRPC cannot be given a socket that listens already, so those have doors in front of a socket in the
data directory (docs/adr/0027). Raises `StartError` (PORT_IN_USE) when the address cannot be had.
"""

import resource
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import grpc
import structlog

from daemon.doorway import Doorway, inner_place, place_in
from daemon.errors import StartError
from daemon.foundation import Foundation
from daemon.handed import address_of
from daemon.rpc.server_certificate import ServerCertificate

_log = structlog.get_logger("stockade")

# A connection that never speaks costs up to 60 kB until it is given up: with these, 1 GB.
MAX_CONNECTIONS = 16_384
# Of a connection that came by a door: outside, inside, and gRPC's end of that.
DESCRIPTORS_BEHIND_A_DOOR = 3


def most_connections(*, doors: bool = False) -> int:
    """Whoever comes beyond is hung up on; a quarter of the descriptors is kept for the rest."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    each = DESCRIPTORS_BEHIND_A_DOOR if doors else 1
    return min(soft * 3 // 4 // each, MAX_CONNECTIONS)


@dataclass(frozen=True, slots=True)
class Listening:
    """Where it listens: the address, with the real port number, and the numbers of all ports."""

    address: str
    ports: frozenset[int]


@asynccontextmanager
async def listening(
    server: grpc.aio.Server, base: Foundation, handed: Sequence[socket.socket], doorway: Doorway
) -> AsyncIterator[Listening]:
    """Listens for as long as the context lasts."""
    with place_in(base.estate.home.data, base.estate.home.socket.name) as own:
        if not handed:
            # The port first: gRPC takes "any" for the number that its other sockets have.
            address = _bound(server, base.config.server.listen, _credentials(base))
            _bind_own(server, own, _credentials(base))
            yield Listening(address, frozenset({int(address.rpartition(":")[2])}))
            return
        with inner_place(base.estate.home.data, "served") as inner:
            server.add_secure_port(f"unix:{inner}", _credentials(base))
            _bind_own(server, own, _credentials(base))
            async with AsyncExitStack() as doors:
                for listener in handed:
                    await doors.enter_async_context(doorway.before(listener, inner))
                ports = frozenset(one.getsockname()[1] for one in handed)
                yield Listening(address_of(handed[0]), ports)


def _credentials(base: Foundation) -> grpc.ServerCredentials:
    """Of each listener its own: gRPC keeps to the answers that it had for the first."""
    lifetime = timedelta(hours=base.config.identity.server_certificate_hours)
    return ServerCertificate(base.authorities, base.clock, lifetime).credentials()


def _bind_own(server: grpc.aio.Server, own: Path, credentials: grpc.ServerCredentials) -> None:
    """The local device's own socket. Where the file system has none, it comes by the port."""
    try:
        server.add_secure_port(f"unix:{own}", credentials)
    except RuntimeError:
        _log.warning("socket.unavailable", fix="keep the data directory on a local file system")


def _bound(server: grpc.aio.Server, listen: str, credentials: grpc.ServerCredentials) -> str:
    host, _, port = listen.rpartition(":")
    try:
        bound = server.add_secure_port(f"{host}:{port}", credentials)
    except RuntimeError:
        raise StartError(
            f"{listen} cannot be listened on: it is in use, or not an address here",
            code="PORT_IN_USE",
            fix='set another port in config.toml, as listen = "127.0.0.1:7608" under [server],'
            " or end what listens there",
        ) from None
    return f"{host}:{bound}"
