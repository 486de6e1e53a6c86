"""The connections of this process's own port, as the kernel has them; and the end of one.

gRPC accepts them itself and tells of none (docs/adr/0042). So they are looked for among this
process's descriptors: a socket is known by the kernel's number of it, so that each is asked once
where it comes from. Trusted to end no other connection: what is shut down is a copy of the
descriptor whose number was looked at again. What is gone meanwhile is gone; raises nothing.
"""

import errno
import os
import socket
import stat
from collections.abc import Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from daemon.source import peer_at

_DESCRIPTORS: Final = "/proc/self/fd"
_SO_DOMAIN: Final = 39  # asm-generic/socket.h; Python has no name for it


@dataclass(frozen=True, slots=True)
class Sockets:
    """What was found: each peer's socket, the descriptor of it, and what is no such connection."""

    by_peer: Mapping[str, int]
    descriptors: Mapping[int, int]
    others: frozenset[int]


NONE: Final = Sockets({}, {}, frozenset())


def find(ports: Collection[int], before: Sockets = NONE) -> Sockets:
    """Connections to these ports of ours; `before` is what was found the last time."""
    peers = {number: peer for peer, number in before.by_peer.items()}
    by_peer: dict[str, int] = {}
    descriptors: dict[int, int] = {}
    others: set[int] = set()
    for descriptor in map(int, os.listdir(_DESCRIPTORS)):  # noqa: PTH208 - numbers are wanted
        number = _number(descriptor)
        if number == 0:
            continue
        if number in before.others:
            others.add(number)
            continue
        peer = peers.get(number)
        try:
            peer = peer or _peer(descriptor, number, ports)
        except OSError:  # it has just ended, or there is no descriptor left to look with
            continue
        if peer is None:
            others.add(number)
        else:
            if peer in by_peer:  # from one port of theirs to another address of ours
                peer = f"{peer}#{number}"
            by_peer[peer] = number
            descriptors[number] = descriptor
    return Sockets(by_peer, descriptors, frozenset(others))


def end(number: int, found: Sockets) -> None:
    """Shuts that connection down: gRPC sees its end, and so does the other side."""
    descriptor = found.descriptors.get(number)
    if descriptor is None:
        return
    with suppress(OSError), _copy(descriptor) as own:
        if _number(own.fileno()) == number:
            own.shutdown(socket.SHUT_RDWR)


def _number(descriptor: int) -> int:
    """The kernel's number of a socket; 0 for what is none, or is not there any more."""
    try:
        found = os.fstat(descriptor)
    except OSError:
        return 0
    return found.st_ino if stat.S_ISSOCK(found.st_mode) else 0


def _peer(descriptor: int, number: int, ports: Collection[int]) -> str | None:
    """Who is at the other end, as gRPC writes it; None for no connection to one of these ports."""
    with _copy(descriptor) as own:
        if _number(own.fileno()) != number:
            raise OSError(errno.EBADF, "another one by now")
        family = own.getsockopt(socket.SOL_SOCKET, _SO_DOMAIN)
        if family not in (socket.AF_INET, socket.AF_INET6):
            return None
        if own.getsockname()[1] not in ports or own.getsockopt(
            socket.SOL_SOCKET, socket.SO_ACCEPTCONN
        ):
            return None
        host, port = own.getpeername()[:2]
    return peer_at(str(host), int(port))


def _copy(descriptor: int) -> socket.socket:
    """Without asking the kernel what it is; the family only says how much room an address gets.

    A handle on a socket's name (O_PATH) looks like one, and cannot be used as one.
    """
    copy = os.dup(descriptor)
    try:
        return socket.socket(socket.AF_INET6, socket.SOCK_STREAM, 0, fileno=copy)
    except OSError:
        os.close(copy)
        raise
