"""The local device's own socket: whoever else comes by it, or puts something else in its place."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from stockade.client import Client
from stockade.connection import SERVER_NAME
from stockade.endpoint import MAX_SOCKET_PATH
from stockade.errors import DaemonUnreachable
from stockade.home import Home
from tests.attacks.certificates import Presented
from tests.attacks.test_full_port import tls
from tests.attacks.test_http2 import EMPTY, OPENED, OPENING, SECONDS, push
from tests.running import CONFIG, RunningDaemon, make_directory, running
from tests.stockade.authority import Authority, pem_key


@pytest.fixture(scope="module")
def daemon() -> Iterator[RunningDaemon]:
    with running() as made:
        yield made


@pytest.fixture(scope="module")
def attacker(daemon: RunningDaemon) -> Home:
    return daemon.pair_device("attacker", "owners")


def told(daemon: RunningDaemon, device: Home, name: str) -> bytes:
    """What that device is told at the daemon's own socket, by an end of that name."""
    with socket.socket(socket.AF_UNIX) as end:
        end.bind(name)
        end.connect(str(daemon.home.socket))
        with tls(daemon, device).wrap_socket(end, server_hostname=SERVER_NAME) as connection:
            return push(connection, OPENING + OPENED + EMPTY, SECONDS, b"device")


@pytest.mark.parametrize("name", ["\0anything", "\0stockade-door-" + "0" * 49, "path", ""])
def test_no_name_of_the_other_end_opens_it(
    daemon: RunningDaemon, attacker: Home, name: str
) -> None:
    """Whatever a process calls its end of the connection: another's certificate is refused."""
    place = daemon.root / "end.sock"
    place.unlink(missing_ok=True)
    here = str(place) if name == "path" else name
    said = told(daemon, attacker, here)
    assert b"this socket is for the device of the daemon's machine alone" in said
    assert b"attacker" not in said
    place.unlink(missing_ok=True)
    assert b"local" in told(daemon, daemon.home, here)


def by_socket(daemon: RunningDaemon) -> bool:
    """Whether the local device is served by a socket in its place; by the port it is anyway."""
    with Client.open(daemon.home, by_socket=False) as client:
        assert client.who_am_i().principal
    with daemon.client() as client:
        assert client.who_am_i().principal
    return daemon.home.socket.is_socket() and not daemon.home.socket.is_symlink()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_another_user_cannot_connect_to_it(daemon: RunningDaemon) -> None:
    """The user that tools run as may search the way to it, and is refused by the kernel."""
    code = (
        "import os, socket, sys; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "socket.socket(socket.AF_UNIX).connect(sys.argv[1])"
    )
    tried = subprocess.run(
        [sys.executable, "-c", code, str(daemon.home.socket)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "PermissionError" in tried.stderr


class Recorder(grpc.GenericRpcHandler):
    """Serves nothing, and notes who asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def service(self, details: grpc.HandlerCallDetails) -> None:
        self.asked.append(details.method)


@contextmanager
def posing(place: Path, key: bytes, certificate: bytes) -> Iterator[Recorder]:
    """A server there that shows this certificate."""
    recorder = Recorder()
    server = grpc.server(ThreadPoolExecutor(2), handlers=[recorder])
    assert server.add_secure_port(
        f"unix:{place}", grpc.ssl_server_credentials([(key, certificate)])
    )
    server.start()
    try:
        yield recorder
    finally:
        server.stop(None).wait()
        place.unlink(missing_ok=True)


@pytest.mark.parametrize("whose", ["another authority's", "a paired device's"])
def test_a_client_tells_another_daemon_there_nothing(
    daemon: RunningDaemon, attacker: Home, whose: str
) -> None:
    """The server's certificate is looked at on this way, too; without that socket, all is well."""
    shown = Presented.of(attacker)
    if whose == "another authority's":
        authority, key = Authority(), ec.generate_private_key(ec.SECP256R1())
        issued = authority.issue(key.public_key(), SERVER_NAME) + authority.pem
        shown = Presented(pem_key(key), issued)
    place, aside = daemon.home.socket, daemon.home.socket.with_name("aside.sock")
    place.rename(aside)
    try:
        with posing(place, shown.key, shown.certificate) as recorder:
            with daemon.client() as client, pytest.raises(DaemonUnreachable):
                client.who_am_i()
            assert recorder.asked == []
        with daemon.client() as client:  # there is none: by the port
            assert client.who_am_i().principal
    finally:
        aside.rename(place)
    assert by_socket(daemon)


@pytest.fixture
def own() -> Iterator[RunningDaemon]:
    """A daemon of this test's own, in a home whose socket has too long a path for a client."""
    root = make_directory()
    made = RunningDaemon(root / ("long-" * 20), CONFIG)
    try:
        yield made.start()
    finally:
        made.stop()
        shutil.rmtree(root, ignore_errors=True)


def test_what_is_in_its_place_is_in_nobodys_way(own: RunningDaemon) -> None:
    """A stale socket, a link to somebody's socket, a folder: it starts, serves and stops.

    What a link led to is as it was. The path of this socket is longer than a client can name.
    """
    place = own.home.socket
    assert len(os.fsencode(place)) > MAX_SOCKET_PATH
    other = own.root.parent / "other.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(other))
        listener.listen()
        own.stop(signal.SIGKILL)
        assert place.is_socket()
        assert by_socket(own.start())
        own.stop(signal.SIGKILL)
        place.unlink()
        place.symlink_to(other)
        by_socket(own.start())
        with socket.socket(socket.AF_UNIX) as visitor:
            visitor.connect(str(other))
            listener.accept()[0].close()
        assert own.stop() == 0
    place.unlink(missing_ok=True)
    place.mkdir()
    assert not by_socket(own.start())
    assert "socket.unavailable" in own.log
    assert own.stop() == 0
    assert place.is_dir()
