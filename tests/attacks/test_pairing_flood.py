"""The pairing listener, flooded: who comes too often is turned away, and keeps nobody else out."""

import contextlib
import shutil
import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace

import grpc
import psutil
import pytest

from daemon.doorway import MAX_OF_A_SOURCE
from stockade.client import Client
from stockade.errors import StockadeError
from stockade.pairing import listener_certificate
from stockade.pairing_code import PairingCode
from tests.attacks.brief import until
from tests.attacks.probing import sequence
from tests.attacks.test_flood import wait_of
from tests.attacks.test_http2 import BROKEN, END_HEADERS, HEADERS, OPENING, frame, request
from tests.attacks.test_pairing import ask, invited, new_key
from tests.attacks.test_transport import GARBAGE
from tests.running import CONFIG, RunningDaemon, running

SECONDS = 30
# Sooner than a handshake that does not come is given up.
HUNG_UP_SECONDS = 7
STRANGER = "127.0.0.2"  # another source than the tests' own, and on this machine all the same
BURST = 3
RATES = f"[rates]\npairing_per_minute = 1\npairing_burst = {BURST}\n"


@pytest.fixture(scope="module")
def slow() -> Iterator[RunningDaemon]:
    """A daemon that lets a source try three times at once."""
    with running(CONFIG + RATES) as daemon:
        yield daemon


def place(code: PairingCode) -> tuple[str, int]:
    """Where the listener is."""
    host, _, port = code.address.rpartition(":")
    return host, int(port)


def dial(code: PairingCode, source: str) -> socket.socket:
    """A connection from there."""
    made = socket.create_connection(place(code), SECONDS, source_address=(source, 0))
    made.settimeout(1)
    return made


def dial_tls(code: PairingCode, source: str, context: ssl.SSLContext) -> ssl.SSLSocket:
    """One that speaks TLS. Wrapped before it is connected: `ssl` does not close what is reset."""
    made = context.wrap_socket(socket.socket())
    try:
        made.settimeout(SECONDS)
        made.bind((source, 0))
        made.connect(place(code))
        made.settimeout(1)
    except BaseException:
        made.close()
        raise
    return made


def hung_up(connection: socket.socket) -> bool:
    """Whether the other end has closed it."""
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False
    except ConnectionError:
        return True


def anybody() -> ssl.SSLContext:
    """TLS without a certificate, and without looking at the other's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2"])
    return context


def pairs(client: Client, code: PairingCode) -> bool:
    """An honest device with the code gets as far as its certificate."""
    csr, spki = new_key()
    stream = ask(code, csr, code.proof(spki))
    client.confirm_pairing(code.invitation_id, next(stream).waiting.words, accept=True)
    return [event.paired.name for event in stream] == ["phone"]


def test_a_source_that_tries_too_often_is_told_when_to_come_back(slow: RunningDaemon) -> None:
    """The fourth attempt at once: RESOURCE_EXHAUSTED, RATE_LIMITED, RetryInfo, for guesses too.

    It costs the invitation nothing, and another source its own tries nothing.
    """
    with slow.client() as client, invited(client) as (code, _):
        csr, spki = new_key()
        elsewhere = replace(code, secret=bytes(16))  # another invitation's id: a guess
        for _ in range(BURST):
            with pytest.raises(grpc.RpcError) as refused:
                list(ask(elsewhere, csr, elsewhere.proof(spki)))
            assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
        for tried in (elsewhere, code):
            with pytest.raises(grpc.RpcError) as refused:
                list(ask(tried, csr, tried.proof(spki)))
            assert 0 < wait_of(refused.value) <= 60_000
        assert client.status().tools  # its own rates are apart
        assert listener_certificate(code)  # the invitation is still open
        with pytest.raises(StockadeError) as nobody:
            client.confirm_pairing(code.invitation_id, "", accept=True)
        assert nobody.value.reason == "UNKNOWN_INVITATION"  # and nobody waits


def test_a_source_that_holds_connections_gets_no_more_of_them(
    shared_daemon: RunningDaemon,
) -> None:
    """Half-open, as many as a source may have: one more is hung up on. Another device pairs."""
    with (
        shared_daemon.client() as client,
        invited(client) as (code, _),
        contextlib.ExitStack() as stack,
    ):
        held = [stack.enter_context(dial(code, STRANGER)) for _ in range(MAX_OF_A_SOURCE)]
        # At once: those that are held are given up, too, if the machine takes its time.
        for _ in range(3):
            one_more = stack.enter_context(dial(code, STRANGER))
            one_more.settimeout(HUNG_UP_SECONDS)
            assert hung_up(one_more)
        for one in held[:2]:
            one.settimeout(0.1)
            assert not hung_up(one)
        assert pairs(client, code)


def test_places_are_given_back(shared_daemon: RunningDaemon) -> None:
    """A source whose connections have ended may come again; nothing of them is left."""
    with shared_daemon.client() as client, invited(client) as (code, _):
        before = shared_daemon.descriptors()
        for _ in range(2):
            held = [dial(code, "127.0.0.6") for _ in range(MAX_OF_A_SOURCE)]
            assert not hung_up(held[-1])
            for connection in held:
                connection.close()
            until(lambda: shared_daemon.descriptors() <= before)
        assert pairs(client, code)
    until(lambda: shared_daemon.descriptors() <= before)


def test_a_source_that_connects_again_and_again_is_hung_up_on(slow: RunningDaemon) -> None:
    """Not only at once but in a row: handshakes cost, so they are counted too."""
    with slow.client() as client, invited(client) as (code, _):
        ended: list[bool] = []
        for _ in range(4 * BURST + 5):
            with dial(code, "127.0.0.3") as connection:
                connection.settimeout(0.1 if len(ended) < 4 * BURST else HUNG_UP_SECONDS)
                ended.append(hung_up(connection))
        assert not ended[0]
        assert ended[-5:] == [True] * 5
        assert listener_certificate(code)  # from the tests' own address


@pytest.mark.parametrize("which", GARBAGE)
def test_garbage_ends_no_invitation(shared_daemon: RunningDaemon, which: str) -> None:
    """Bytes that are no TLS, from anybody who reaches the port: the honest device still pairs."""
    with shared_daemon.client() as client, invited(client) as (code, _):
        before = sequence(client)
        with contextlib.ExitStack() as stack:
            for _ in range(4):
                one = stack.enter_context(dial(code, STRANGER))
                with contextlib.suppress(OSError):
                    one.sendall(GARBAGE[which])
            assert sequence(client) == before
            assert pairs(client, code)
    assert "Traceback" not in shared_daemon.log


def test_broken_http2_ends_no_invitation(shared_daemon: RunningDaemon) -> None:
    """The same within TLS, which anybody may speak to this listener."""
    context = anybody()
    with shared_daemon.client() as client, invited(client) as (code, _):
        for data in BROKEN.values():
            with contextlib.suppress(OSError), dial_tls(code, "127.0.0.4", context) as tls:
                tls.sendall(data)
                tls.recv(4096)
        assert pairs(client, code)
    assert "Traceback" not in shared_daemon.log


def test_requests_that_never_come_keep_nobody_out(shared_daemon: RunningDaemon) -> None:
    """One source opens all the RPCs it can and sends no request on them: a device still pairs."""
    context = anybody()
    path = b"/stockade.v1.PairingService/Pair"
    streams = b"".join(
        frame(HEADERS, request(path), flags=END_HEADERS, stream=stream) for stream in (1, 3, 5, 7)
    )
    with (
        shared_daemon.client() as client,
        invited(client) as (code, _),
        contextlib.ExitStack() as s,
    ):
        for _ in range(MAX_OF_A_SOURCE):
            tls = s.enter_context(dial_tls(code, "127.0.0.5", context))
            tls.sendall(OPENING + streams)
        assert pairs(client, code)


def test_the_inner_listener_is_nobody_elses(shared_daemon: RunningDaemon) -> None:
    """What is behind the door cannot be reached but through it, and goes with the invitation."""
    data = shared_daemon.home.data
    with shared_daemon.client() as client, invited(client) as (code, _):
        assert shared_daemon.descriptors() > 0  # else what it listens at is not told either
        (inner,) = data.glob("pairing-*.sock")
        assert inner.stat().st_mode & 0o077 == 0
        listening = {
            found.laddr.port
            for found in psutil.Process(shared_daemon.pid).net_connections("inet")
            if found.status == psutil.CONN_LISTEN
        }
        assert listening == {place(code)[1], int(shared_daemon.address.rpartition(":")[2])}
    until(lambda: not list(data.glob("pairing-*.sock")))


def test_a_long_data_directory_is_no_obstacle() -> None:
    """The path of a socket has 107 bytes; a data directory may have more."""
    with running(CONFIG) as daemon:
        daemon.stop()
        deep = daemon.root / ("d" * 100)
        deep.mkdir(mode=0o711)
        for name in sorted(path.name for path in daemon.root.iterdir() if path != deep):
            shutil.move(daemon.root / name, deep / name)
        moved = RunningDaemon(deep, CONFIG, initialised=True)
        try:
            with moved.start().client() as client, invited(client) as (code, _):
                assert pairs(client, code)
        finally:
            moved.stop()
