"""Sockets from the service manager: taken if they are what they should be, refused if not."""

import os
import socket

import pytest

from daemon.errors import StartError
from daemon.handed import address_of, handed_sockets


def environment(count: str, pid: int | None = None) -> dict[str, str]:
    return {
        "LISTEN_PID": str(os.getpid() if pid is None else pid),
        "LISTEN_FDS": count,
        "LISTEN_FDNAMES": "stockaded.socket",
    }


def refused(made: socket.socket) -> str:
    """What is said of a descriptor that is no listener."""
    with made, pytest.raises(StartError) as caught:
        handed_sockets(environment("1"), os.dup(made.fileno()))
    assert caught.value.code == "SOCKET_UNUSABLE"
    return caught.value.message


def test_a_listener_is_taken() -> None:
    """It is this process's alone, and gives its address; the variables are gone."""
    with socket.create_server(("127.0.0.1", 0)) as made:
        given = environment("1")
        [taken] = handed_sockets(given, os.dup(made.fileno()))
        assert given == {}
        assert not os.get_inheritable(taken.fileno())
        assert address_of(taken) == f"127.0.0.1:{made.getsockname()[1]}"
        taken.close()


def test_those_of_another_process_are_left_alone() -> None:
    """Variables that were inherited by mistake name descriptors that mean something else here."""
    assert handed_sockets(environment("1", pid=1)) == ()
    assert handed_sockets({}) == ()


@pytest.mark.parametrize("count", ["", "0", "-1", "17", "x"])
def test_a_number_that_cannot_be_is_refused(count: str) -> None:
    """Rather than to serve at some of the addresses that the operator meant."""
    with pytest.raises(StartError):
        handed_sockets(environment(count))


def test_what_does_not_listen_for_tcp_is_refused() -> None:
    """A datagram socket, a Unix socket, a connection, a file: none is served at."""
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(f"\0stockade-test-handed-{os.getpid()}")
    unix.listen()
    for made in (socket.socket(socket.AF_INET, socket.SOCK_DGRAM), socket.socket(), unix):
        assert "does not listen" in refused(made)
