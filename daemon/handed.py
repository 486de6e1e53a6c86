"""Sockets that the service manager listened on before this process was started (socket activation).

Trusted to take only what was handed to this very process, and only sockets that listen for TCP
connections: anything else would be a port that the operator did not mean. The variables are taken
away, and the descriptors closed to children. Raises `StartError` (SOCKET_UNUSABLE).
"""

import os
import socket
from collections.abc import MutableMapping

from daemon.errors import StartError

FIRST = 3  # SD_LISTEN_FDS_START
MOST = 16


def handed_sockets(
    environment: MutableMapping[str, str] = os.environ, first: int = FIRST
) -> tuple[socket.socket, ...]:
    """Those of this process, as `LISTEN_PID` and `LISTEN_FDS` say; none without a manager."""
    pid, count = environment.pop("LISTEN_PID", ""), environment.pop("LISTEN_FDS", "")
    environment.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()):
        return ()
    if not count.isdecimal() or not 0 < int(count) <= MOST:
        raise _unusable(f"LISTEN_FDS={count!r:.20}")
    return tuple(_taken(first + number) for number in range(int(count)))


def _taken(descriptor: int) -> socket.socket:
    try:
        os.set_inheritable(descriptor, False)
        taken = socket.socket(fileno=descriptor)
        listens = taken.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    except OSError as error:
        raise _unusable(f"descriptor {descriptor}: {error.strerror}") from None
    tcp = taken.family in (socket.AF_INET, socket.AF_INET6) and taken.type == socket.SOCK_STREAM
    if not (tcp and listens):
        taken.close()
        raise _unusable(f"descriptor {descriptor} does not listen for TCP connections")
    taken.setblocking(False)
    return taken


def address_of(listener: socket.socket) -> str:
    """Where it listens: "127.0.0.1:7607", "[::1]:7607"."""
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _unusable(why: str) -> StartError:
    return StartError(
        f"a socket of the service manager's cannot be used: {why}",
        code="SOCKET_UNUSABLE",
        fix="stockaded.socket takes ListenStream= with an address and a port, and nothing else",
    )
