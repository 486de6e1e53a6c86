"""The connections of an own port, looked for among this process's descriptors."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from daemon.rpc import sockets
from daemon.source import source_of_peer


@contextlib.contextmanager
def connected(listen: str, dial: str) -> Iterator[tuple[socket.socket, socket.socket, int]]:
    """Both ends of a connection, and the port."""
    family = socket.AF_INET6 if ":" in listen else socket.AF_INET
    with contextlib.ExitStack() as held:
        both = family == socket.AF_INET6 and listen == "::"
        listener = held.enter_context(
            socket.create_server((listen, 0), family=family, dualstack_ipv6=both)
        )
        port = int(listener.getsockname()[1])
        theirs = held.enter_context(socket.create_connection((dial, port)))
        ours, _ = listener.accept()
        yield held.enter_context(ours), theirs, port


@pytest.mark.parametrize(
    ("listen", "dial", "shown"),
    [
        ("127.0.0.1", "127.0.0.1", "ipv4:127.0.0.1:{}"),
        ("::1", "::1", "ipv6:[::1]:{}"),
        ("::", "127.0.0.1", "ipv4:127.0.0.1:{}"),
    ],
)
def test_a_connection_is_found_by_the_name_that_grpc_gives_it(
    listen: str, dial: str, shown: str
) -> None:
    """Also the second time, when the kernel is not asked again; and it can be ended."""
    with connected(listen, dial) as (ours, theirs, port):
        number = os.fstat(ours.fileno()).st_ino
        found = sockets.find({port})
        assert found.by_peer == {shown.format(theirs.getsockname()[1]): number}
        assert sockets.find({port}, found).by_peer == found.by_peer
        sockets.end(number, found)
        assert theirs.recv(1) == b""


def test_one_port_of_theirs_to_many_addresses_of_ours_is_many_connections() -> None:
    """Who listens on all addresses is reached by each, from one port of theirs: all are found."""
    with contextlib.ExitStack() as held:
        listener = held.enter_context(socket.create_server(("0.0.0.0", 0)))  # noqa: S104 - all
        port = int(listener.getsockname()[1])
        theirs = 0
        for address in ("127.0.0.1", "127.0.0.2", "127.0.0.3"):
            one = held.enter_context(socket.socket())
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            one.bind(("127.0.0.1", theirs))
            one.connect((address, port))
            theirs = int(one.getsockname()[1])
            held.enter_context(listener.accept()[0])
        found = sockets.find({port})
        assert len(found.by_peer) == len(found.descriptors) == 3
        assert {source_of_peer(peer) for peer in found.by_peer} == {"127.0.0.1"}
        assert sockets.find({port}, found) == found


def test_a_descriptor_that_is_another_connection_by_now_is_left_alone() -> None:
    """Between the look and the end, one may have been closed and its number been given away."""
    with (
        connected("127.0.0.1", "127.0.0.1") as (ours, _, port),
        connected("127.0.0.1", "127.0.0.1") as (other, far, _),
    ):
        number = os.fstat(ours.fileno()).st_ino
        found = sockets.find({port})
        os.dup2(other.fileno(), ours.fileno())
        sockets.end(number, found)
        other.sendall(b"x")
        assert far.recv(1) == b"x"


def test_other_sockets_are_none_of_it() -> None:
    """Listeners, Unix sockets and connections to other ports."""
    one, two = socket.socketpair()
    with connected("127.0.0.1", "127.0.0.1") as (_, _, port), one, two:
        assert sockets.find({port + 1}).by_peer == {}
        assert len(sockets.find({port}).by_peer) == 1


def test_a_handle_on_a_sockets_name_costs_no_descriptor(tmp_path: Path) -> None:
    """What is mounted into a sandbox is held by such a handle; each look would have kept a copy."""
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "s"))
    handle = os.open(tmp_path / "s", os.O_PATH | os.O_CLOEXEC)
    try:
        before = set(Path("/proc/self/fd").iterdir())
        found = sockets.find([1])
        assert set(Path("/proc/self/fd").iterdir()) == before
        assert handle not in found.descriptors.values()
    finally:
        os.close(handle)
