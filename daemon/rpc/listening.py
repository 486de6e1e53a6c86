"""Where gRPC listens: the configured address, or behind the sockets of the service manager.

gRPC cannot be given a socket that listens already, so those have doors in front of a socket in the
data directory (docs/adr/0027). Raises `StartError` (PORT_IN_USE) when the address cannot be had.
"""

import resource
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta

import grpc

from daemon.doorway import Doorway, inner_place
from daemon.errors import StartError
from daemon.foundation import Foundation
from daemon.handed import address_of
from daemon.rpc.server_certificate import ServerCertificate

# A connection that never speaks costs up to 60 kB until it is given up: with these, 1 GB.
MAX_CONNECTIONS = 16_384
# Of a connection that came by a door: outside, inside, and gRPC's end of that.
DESCRIPTORS_BEHIND_A_DOOR = 3


def most_connections(*, doors: bool = False) -> int:
    """Whoever comes beyond is hung up on; a quarter of the descriptors is kept for the rest."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    each = DESCRIPTORS_BEHIND_A_DOOR if doors else 1
    return min(soft * 3 // 4 // each, MAX_CONNECTIONS)


@asynccontextmanager
async def listening(
    server: grpc.aio.Server, base: Foundation, handed: Sequence[socket.socket], doorway: Doorway
) -> AsyncIterator[str]:
    """Listens for as long as the context lasts; gives the address, with the real port number."""
    lifetime = timedelta(hours=base.config.identity.server_certificate_hours)
    credentials = ServerCertificate(base.authorities, base.clock, lifetime).credentials()
    if not handed:
        yield _bound(server, base.config.server.listen, credentials)
        return
    with inner_place(base.estate.home.data, "served") as inner:
        server.add_secure_port(f"unix:{inner}", credentials)
        async with AsyncExitStack() as doors:
            for listener in handed:
                await doors.enter_async_context(doorway.before(listener, inner))
            yield address_of(handed[0])


def _bound(server: grpc.aio.Server, listen: str, credentials: grpc.ServerCredentials) -> str:
    host, _, port = listen.rpartition(":")
    try:
        bound = server.add_secure_port(f"{host}:{port}", credentials)
    except RuntimeError:
        raise StartError(
            f"{listen} cannot be listened on: it is in use, or not an address here",
            code="PORT_IN_USE",
            fix="change server.listen in config.toml, or end what listens there",
        ) from None
    return f"{host}:{bound}"
