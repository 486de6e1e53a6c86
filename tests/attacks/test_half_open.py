"""Connections that are opened and lead nowhere: thousands of them, while others are served."""

import contextlib
import resource
import shutil
import socket
import time
from collections.abc import Callable, Iterator

import psutil
import pytest

from daemon.rpc.held_connections import MOST_STRANGERS_OF_A_SOURCE
from stockade.client import Client
from stockade.errors import DaemonUnreachable
from tests.attacks.test_transport import GARBAGE
from tests.running import CONFIG, RunningDaemon, finished, make_directory, running

HALF_OPEN = 10_000
SECONDS = 90  # the daemon gives a handshake 10, and then has thousands to end
MOST_KEPT = 160 * 1024 * 1024
OUTSIDE = 1_000  # descriptors that this process needs for other things


@pytest.fixture(scope="module")
def many() -> Iterator[int]:
    """As many half-open connections as the limits of this machine allow, both ends together."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = HALF_OPEN + OUTSIDE
    raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, raised), hard))
    ceiling = 65_536 if hard == resource.RLIM_INFINITY else hard
    yield min(HALF_OPEN, max(soft, raised) - OUTSIDE, ceiling * 3 // 4 - OUTSIDE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextlib.contextmanager
def half_open(daemon: RunningDaemon, number: int) -> Iterator[None]:
    """So many connections: every other one silent, the rest stopped amid their ClientHello."""
    host, _, port = daemon.address.rpartition(":")
    with contextlib.ExitStack() as held:
        for index in range(number):
            one = held.enter_context(socket.create_connection((host, int(port)), SECONDS))
            if index % 2:
                with contextlib.suppress(ConnectionError):  # it may have been hung up on
                    one.sendall(GARBAGE["half a ClientHello"])
        yield


def until(true: Callable[[], bool], seconds: float = SECONDS) -> bool:
    """Whether it became true in time."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def settled(daemon: RunningDaemon) -> int:
    """Its descriptors once it is idle: it starts runs ahead of time, which have some."""
    while True:
        found = daemon.descriptors()
        time.sleep(2)
        if found == daemon.descriptors():
            return found


def comes_in(daemon: RunningDaemon) -> bool:
    """Whether a new client is served by the port, unless that is full just now."""
    try:
        with Client.open(daemon.home, by_socket=False) as newcomer:
            return bool(newcomer.who_am_i().principal)
    except DaemonUnreachable:
        return False


def serves(client: Client) -> bool:
    """A whole call, with its receipts: the least a client may expect."""
    return finished(list(client.call("no_such_tool", {}))).reason == "UNKNOWN_TOOL"


def test_ten_thousand_half_open_connections_disturb_nobody(many: int) -> None:
    """Old clients and new ones are served meanwhile; one source has its share and no more of them.

    Then the daemon gives up on the silent.
    """
    with running(CONFIG) as daemon, daemon.client() as owner:
        assert serves(owner)
        process = psutil.Process(daemon.pid)
        before, resident = settled(daemon), process.memory_info().rss
        with half_open(daemon, many):
            # Some are there, and no more than one source may have.
            assert daemon.descriptors() >= before + min(many, 100)
            for _ in range(5):
                assert serves(owner)
                assert until(lambda: comes_in(daemon))
            most = before + MOST_STRANGERS_OF_A_SOURCE + 10
            assert until(lambda: daemon.descriptors() <= most), daemon.descriptors()
            # Nobody has hung up but the daemon.
            assert until(lambda: daemon.descriptors() <= before + 10), daemon.descriptors()
            assert serves(owner)
        with daemon.client() as newcomer:
            assert serves(newcomer)
        # What they cost is given back: it was more than this by the time they were given up.
        assert until(lambda: process.memory_info().rss < resident + MOST_KEPT), daemon.log[-2000:]
        assert "Traceback" not in daemon.log


def test_more_connections_than_descriptors_leave_the_daemon_some() -> None:
    """With its port filled again and again, all paired clients are served, and nothing breaks."""
    assert shutil.which("prlimit") is not None
    limit = 400
    daemon = RunningDaemon(make_directory(), wrapper=("prlimit", f"--nofile={limit}"))
    try:
        with daemon.start().client() as owner:
            assert serves(owner)
            before = settled(daemon)
            for _ in range(2):
                with half_open(daemon, 2 * limit):
                    assert serves(owner)
                    assert daemon.descriptors() <= limit * 9 // 10
                    with daemon.client() as newcomer:  # by the socket, which is never full
                        assert newcomer.who_am_i().principal
                    assert until(lambda: comes_in(daemon))
            # The attacker has gone: there is room again.
            assert until(lambda: daemon.descriptors() <= before + 10)
            with daemon.client() as newcomer:
                assert serves(newcomer)
        assert "Traceback" not in daemon.log
    finally:
        daemon.stop()
        shutil.rmtree(daemon.root, ignore_errors=True)
