"""Attacks inside the TLS connection of a paired device: HTTP/2 that is broken, or far too much."""

import contextlib
import os
import socket
import ssl
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stockade.client import Client
from stockade.connection import SERVER_NAME
from stockade.errors import Unavailable
from tests.attacks.certificates import Presented
from tests.attacks.probing import sequence
from tests.running import RunningDaemon

SECONDS = 30
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, CONTINUATION = 0, 1, 3, 4, 6, 9
END_STREAM, END_HEADERS = 1, 4
# A flood may cost the daemon this much memory while it lasts, and no more.
MAX_GROWTH = 64 * 1024 * 1024


def frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream: int = 0) -> bytes:
    """RFC 9113 4.1."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name: bytes, value: bytes) -> bytes:
    """A header field that uses and changes no table (RFC 7541 6.2.2)."""
    return b"\x00" + bytes([len(name)]) + name + bytes([len(value)]) + value


def request(path: bytes = b"/stockade.v1.DeviceService/WhoAmI") -> bytes:
    """The header block of a gRPC request."""
    fields = {b":method": b"POST", b":scheme": b"https", b":path": path, b":authority": b"x"}
    fields |= {b"content-type": b"application/grpc", b"te": b"trailers"}
    return b"".join(literal(name, value) for name, value in fields.items())


OPENING = PREFACE + frame(SETTINGS)
OPENED = frame(HEADERS, request(), flags=END_HEADERS, stream=1)
EMPTY = frame(DATA, bytes(5), flags=END_STREAM, stream=1)

BROKEN = {
    "no preface": os.urandom(4096),
    "half a preface": PREFACE[:10],
    "HTTP/1.1": b"GET / HTTP/1.1\r\nHost: daemon.stockade\r\n\r\n",
    "noise after the preface": OPENING + os.urandom(65536),
    "a frame that stops amid its header": OPENING + frame(PING, bytes(8))[:5],
    "a frame that stops amid its payload": OPENING + OPENED[:-20],
    "a request that stops amid its message": OPENING
    + OPENED
    + frame(DATA, struct.pack(">BI", 0, 1000) + bytes(10), stream=1),
    "a frame above the agreed size": OPENING
    + OPENED
    + frame(DATA, bytes(5 * 1024 * 1024), stream=1),
    "a frame of the largest size there is": OPENING + b"\xff\xff\xff\x00\x00\x00\x00\x00\x01",
    "a message of 4 GiB, announced": OPENING
    + OPENED
    + frame(DATA, b"\x00\xff\xff\xff\xff" + bytes(100), stream=1),
    "a message that claims to be compressed": OPENING
    + OPENED
    + frame(DATA, struct.pack(">BI", 1, 100) + os.urandom(100), flags=END_STREAM, stream=1),
    "headers that are no HPACK": OPENING
    + frame(HEADERS, b"\xff" * 200, flags=END_HEADERS, stream=1),
    "headers without end": OPENING
    + frame(HEADERS, request(), stream=1)
    + frame(CONTINUATION, literal(b"a", 100 * b"b") * 100, stream=1) * 200,
    "headers far above their limit": OPENING
    + frame(HEADERS, request() + literal(b"a", 100 * b"b") * 155, flags=END_HEADERS, stream=1) * 2,
    "a stream of an even number": OPENING + frame(HEADERS, request(), flags=END_HEADERS, stream=2),
    "data on a stream that nobody opened": OPENING + frame(DATA, bytes(5), stream=7),
    "settings of the wrong length": PREFACE + frame(SETTINGS, bytes(5)),
    "a window that overflows": OPENING + frame(8, struct.pack(">I", 2**31 - 1)) * 2,
    "a ping of the wrong length": OPENING + frame(PING, bytes(3)),
}


@pytest.fixture(scope="module")
def context(
    shared_daemon: RunningDaemon, tmp_path_factory: pytest.TempPathFactory
) -> ssl.SSLContext:
    """The TLS of a paired device, with nothing above it."""
    bundle: Path = tmp_path_factory.mktemp("device") / "device.pem"
    shown = Presented.of(shared_daemon.pair_device("attacker", "callers"))
    bundle.write_bytes(shown.key + shown.certificate)
    made = ssl.create_default_context(cafile=str(shared_daemon.home.data / "authority.pem"))
    made.load_cert_chain(bundle)
    made.set_alpn_protocols(["h2"])
    return made


@contextlib.contextmanager
def dialled(
    daemon: RunningDaemon, context: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> Iterator[ssl.SSLSocket]:
    host, _, port = daemon.address.rpartition(":")
    # Wrapped before it is connected: `ssl` does not close what is reset in between.
    plain = socket.socket()
    with context.wrap_socket(plain, server_hostname=SERVER_NAME, session=session) as tls:
        tls.settimeout(SECONDS)
        tls.connect((host, int(port)))
        yield tls


def push(tls: ssl.SSLSocket, data: bytes, patience: float = 0.3, wanted: bytes = b"") -> bytes:
    """Sends it, as far as the daemon will have it, and reads what it says, until it is silent."""
    said = b""
    with contextlib.suppress(ssl.SSLError, ConnectionError, TimeoutError):
        tls.settimeout(2)
        tls.sendall(data)
    with contextlib.suppress(ssl.SSLError, ConnectionError, TimeoutError):
        tls.settimeout(patience)
        while (more := tls.recv(65536)) and (not wanted or wanted not in said + more):
            said += more
        said += more
    return said


def test_a_hand_made_request_is_answered(
    shared_daemon: RunningDaemon, context: ssl.SSLContext
) -> None:
    """The frames below are good when they are not broken: the attacks mean something."""
    with dialled(shared_daemon, context) as tls:
        assert b"attacker" in push(tls, OPENING + OPENED + EMPTY, SECONDS, b"attacker")


@pytest.mark.parametrize("which", BROKEN)
def test_broken_http2_disturbs_nobody(
    shared_daemon: RunningDaemon, owner: Client, context: ssl.SSLContext, which: str
) -> None:
    """Truncated, oversize or garbage: it is not answered, and others are served, with no trace."""
    before, log = sequence(owner), len(shared_daemon.log)
    with dialled(shared_daemon, context) as tls:
        assert b"attacker" not in push(tls, BROKEN[which])
        assert owner.who_am_i().principal  # while it is still open
        with shared_daemon.client() as newcomer:
            assert newcomer.who_am_i().principal
    assert sequence(owner) == before
    assert "Traceback" not in shared_daemon.log[log:]


def open_and_cancel(number: int) -> bytes:
    """Rapid reset (CVE-2023-44487): streams opened and cancelled in one breath."""
    cancel = struct.pack(">I", 8)
    return b"".join(
        frame(HEADERS, request(), flags=END_HEADERS, stream=stream)
        + frame(RST_STREAM, cancel, stream=stream)
        for stream in range(1, 2 * number, 2)
    )


def ask_and_cancel(number: int) -> bytes:
    """The same with whole requests, which reach the daemon's own code."""
    return b"".join(
        frame(HEADERS, request(), flags=END_HEADERS, stream=stream)
        + frame(DATA, bytes(5), flags=END_STREAM, stream=stream)
        + frame(RST_STREAM, struct.pack(">I", 8), stream=stream)
        for stream in range(1, 2 * number, 2)
    )


def open_only(number: int) -> bytes:
    """Streams whose request never comes."""
    return b"".join(
        frame(HEADERS, request(), flags=END_HEADERS, stream=stream)
        for stream in range(1, 2 * number, 2)
    )


def served(client: Client) -> bool:
    """Whether it is answered, asking again where it was turned away.

    While a thousand requests wait that the daemon has not begun to read, gRPC turns some of those
    that come away, whoever's they are: CANCELLED, and nothing was done.
    """
    for _ in range(20):
        try:
            return bool(client.who_am_i().principal)
        except Unavailable as turned_away:
            if turned_away.reason != "NOT_ANSWERED":
                raise
            time.sleep(0.2)
    return False


FLOODS = {
    "rapid reset of whole requests": lambda: ask_and_cancel(5_000),
    "rapid reset": lambda: open_and_cancel(5_000),
    "pings": lambda: frame(PING, bytes(8)) * 50_000,
    "settings": lambda: frame(SETTINGS, struct.pack(">HI", 3, 100)) * 50_000,
    "empty frames": lambda: OPENED + frame(DATA, stream=1) * 50_000,
    "streams never finished": lambda: open_only(20_000),
}


@pytest.mark.parametrize("which", FLOODS)
def test_a_flood_of_frames_starves_nobody(
    shared_daemon: RunningDaemon, owner: Client, context: ssl.SSLContext, which: str
) -> None:
    """While one device floods its connection, another is served in time; memory stays bounded."""
    before, log = shared_daemon.own_bytes, len(shared_daemon.log)
    with dialled(shared_daemon, context) as tls:
        tls.settimeout(0.5)  # a sender that reads nothing is stopped by back-pressure
        flood = memoryview(OPENING + FLOODS[which]())
        slowest = 0.0
        for start in range(0, len(flood), 16384):
            try:
                tls.sendall(flood[start : start + 16384])
            except (ssl.SSLError, ConnectionError, TimeoutError):
                break
            if start % (16384 * 8) == 0:
                began = time.monotonic()
                assert served(owner)
                slowest = max(slowest, time.monotonic() - began)
        assert served(owner)
        with shared_daemon.client() as newcomer:
            assert served(newcomer)
        assert slowest < SECONDS
        assert shared_daemon.own_bytes - before < MAX_GROWTH
    assert "Traceback" not in shared_daemon.log[log:]
    assert "rpc.defect" not in shared_daemon.log[log:]
