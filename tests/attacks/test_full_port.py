"""One paired device takes all the connections it can get; everybody else comes in all the same."""

import json
import shutil
import ssl
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from stockade.client import Client
from stockade.connection import Connection
from stockade.credentials import load_credentials
from stockade.errors import DaemonUnreachable, NotPermitted
from stockade.home import Home
from tests.attacks.certificates import Presented
from tests.attacks.enrolling import enroll_agent
from tests.attacks.test_http2 import OPENING, dialled
from tests.promises.acting import until
from tests.running import CONFIG, RunningDaemon, finished, make_directory

TOP = Path(__file__).parents[2]
DESCRIPTORS = 280  # so that a full port takes few connections: three quarters of it
MOST = 210
OF_A_PRINCIPAL = 52
PROCESSES, EACH = 2, 36
GROWTH = 96 * 1024 * 1024


@pytest.fixture(scope="module")
def daemon() -> Iterator[RunningDaemon]:
    assert shutil.which("prlimit") is not None
    limited = ("prlimit", f"--nofile={DESCRIPTORS}")
    made = RunningDaemon(make_directory(), CONFIG + "[metrics]\nlisten = '127.0.0.1:0'\n")
    made.wrapper = limited
    try:
        yield made.start()
    finally:
        made.stop()
        shutil.rmtree(made.root, ignore_errors=True)


@pytest.fixture(scope="module")
def attacker(daemon: RunningDaemon) -> Home:
    return daemon.pair_device("attacker")


@pytest.fixture(scope="module")
def other(daemon: RunningDaemon) -> Home:
    return daemon.pair_device("other", "owners")


@contextmanager
def hogs(home: Home) -> Iterator[Counter[str]]:
    """Several processes of that device hold what they can get; what they were told."""
    command = [sys.executable, "-m", "tests.attacks.port_hog", str(home.config), str(EACH)]
    with ExitStack() as running:
        started = []
        for _ in range(PROCESSES):
            process = subprocess.Popen(
                command, cwd=TOP, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            started.append(running.enter_context(process))
            running.callback(process.kill)
        told: Counter[str] = Counter()
        for process in started:
            assert process.stdout is not None
            told.update(json.loads(process.stdout.readline()))
        yield told


def tls(daemon: RunningDaemon, device: Home) -> ssl.SSLContext:
    """The TLS of a paired device, with nothing above it."""
    shown, bundle = Presented.of(device), device.config / "both.pem"
    bundle.write_bytes(shown.key + shown.certificate)
    made = ssl.create_default_context(cafile=str(daemon.home.data / "authority.pem"))
    made.load_cert_chain(bundle)
    made.set_alpn_protocols(["h2"])
    return made


def held(daemon: RunningDaemon) -> int:
    """Connections of principals, as the daemon counts them."""
    with daemon.client() as owner:
        return owner.status().connections.of_principals


def others_are_served(daemon: RunningDaemon, other: Home) -> None:
    """The local device by its socket and by the port, and another device."""
    with daemon.client() as owner:
        assert owner.status().health == "ok"
    with Client.open(daemon.home, by_socket=False) as owner:
        assert owner.who_am_i().principal
    with Client.open(other) as bystander:
        assert finished(list(bystander.call("no_such_tool", {}))).reason == "UNKNOWN_TOOL"


def comes_in(daemon: RunningDaemon, other: Home) -> bool:
    """Whether they are served, unless the port is full just now."""
    try:
        others_are_served(daemon, other)
    except DaemonUnreachable:
        return False
    return True


def alarmed(daemon: RunningDaemon, subject: str) -> bool:
    lines = [json.loads(line) for line in daemon.log.splitlines() if '"alert"' in line]
    return any((one["rule"], one["subject"]) == ("connections_held", subject) for one in lines)


def test_a_device_gets_no_more_than_its_share_of_the_port(
    daemon: RunningDaemon, attacker: Home, other: Home
) -> None:
    """Beyond its bound it is told so and when to come back; all others come in meanwhile."""
    with Client.open(attacker) as client:
        name = client.who_am_i().principal
    assert until(lambda: held(daemon) == 0)
    process = psutil.Process(daemon.pid)
    before = process.memory_info().rss
    with hogs(attacker) as told:
        assert told["served"] == OF_A_PRINCIPAL
        refused = "RESOURCE_EXHAUSTED TOO_MANY_CONNECTIONS later"
        assert set(told) == {"served", refused}
        assert told[refused] == PROCESSES * EACH - OF_A_PRINCIPAL
        others_are_served(daemon, other)
        assert f"room for {MOST}" in daemon.cli("status").out
        with daemon.client() as owner:
            found = owner.status().connections
        assert (found.most, found.most_of_a_principal) == (MOST, OF_A_PRINCIPAL)
        assert found.of_principals >= OF_A_PRINCIPAL
        assert found.ended >= told[refused]
        assert alarmed(daemon, name)
        assert process.memory_info().rss - before < GROWTH
    # It left: all is as it was, for it too.
    assert until(lambda: held(daemon) == 0)
    with Client.open(attacker) as client:
        assert client.who_am_i().principal == name
    assert "Traceback" not in daemon.log


def test_the_agents_of_a_device_share_one_bound(daemon: RunningDaemon, other: Home) -> None:
    """Two agents have together what one principal may; their device has its own, and comes in."""
    bots = [enroll_agent(daemon, f"bot{number}") for number in range(2)]
    with hogs(bots[0].home) as first, hogs(bots[1].home) as second:
        assert first["served"] + second["served"] == OF_A_PRINCIPAL
        others_are_served(daemon, other)
    assert until(lambda: held(daemon) == 0)


def test_connections_that_never_ask_anything_keep_nobody_out(
    daemon: RunningDaemon, attacker: Home, other: Home
) -> None:
    """A handshake names nobody to the daemon: such connections are few, and the oldest go first."""
    context = tls(daemon, attacker)
    with ExitStack() as open_:
        for _ in range(MOST + 50):
            with suppress(OSError):  # hung up on: the port is full for a moment
                open_.enter_context(dialled(daemon, context)).sendall(OPENING)
        with daemon.client() as owner:  # never kept waiting
            assert until(lambda: bool(owner.status().connections.ended))
            assert until(lambda: owner.status().connections.of_strangers <= MOST // 4)
        # By the port: within the quarter of a second until the daemon has looked again.
        assert until(lambda: comes_in(daemon, other))
    assert "Traceback" not in daemon.log


def test_the_own_socket_is_for_the_local_device_alone(
    daemon: RunningDaemon, attacker: Home
) -> None:
    """Whoever else finds the way to it is refused, though certified: it is not counted there."""
    assert daemon.home.socket.stat().st_mode & 0o077 == 0
    credentials = load_credentials(attacker.client)
    assert credentials.address is not None
    with (
        Client(Connection(credentials.address, credentials, daemon.home.socket), credentials) as it,
        pytest.raises(NotPermitted) as refused,
    ):
        it.who_am_i()
    assert refused.value.reason == "NOT_THE_LOCAL_DEVICE"


# What a service manager does: it listens, and hands the socket over as descriptor 3.
HANDS_OVER = """
import os, socket, sys
held = socket.create_server(("127.0.0.1", 0))
os.dup2(held.fileno(), 3)
os.set_inheritable(3, True)  # it may have been 3 before
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}
os.execvp(sys.argv[1], sys.argv[1:])
"""


def test_a_socket_that_was_handed_over_is_shared_in_the_same_way() -> None:
    """There, connections come by a door of ours before gRPC: three descriptors each."""
    share = DESCRIPTORS * 3 // 4 // 3 // 4
    wrapper = ("prlimit", f"--nofile={DESCRIPTORS}", sys.executable, "-c", HANDS_OVER)
    daemon = RunningDaemon(make_directory(), CONFIG, wrapper=wrapper)
    try:
        daemon.start()
        attacker, other = daemon.pair_device("attacker"), daemon.pair_device("other", "owners")
        assert until(lambda: held(daemon) == 0)
        with hogs(attacker) as told:
            assert told["served"] == share
            assert until(lambda: comes_in(daemon, other))
        assert until(lambda: held(daemon) == 0)
        assert "Traceback" not in daemon.log
    finally:
        daemon.stop()
        shutil.rmtree(daemon.root, ignore_errors=True)
