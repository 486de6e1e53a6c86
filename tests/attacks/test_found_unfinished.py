"""Requests that are begun and never end: what came of them lies in the daemon's memory."""

import ssl
import struct
import time
from collections.abc import Iterator

import pytest

from daemon.rpc.arriving import MOST_LATE
from tests.attacks.test_full_port import tls
from tests.attacks.test_http2 import (
    DATA,
    EMPTY,
    END_HEADERS,
    HEADERS,
    OPENED,
    OPENING,
    SECONDS,
    dialled,
    frame,
    push,
    request,
)
from tests.running import CONFIG, RunningDaemon, running

MIB = 1024 * 1024
REFLECTION = b"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
WATCH = b"/stockade.v1.ToolService/WatchCall"
CALL = b"/stockade.v1.ToolService/Call"
TOO_MANY = b"are on their way and not whole"


@pytest.fixture(scope="module")
def daemon() -> Iterator[RunningDaemon]:
    with running(CONFIG) as made:
        yield made


@pytest.fixture(scope="module")
def context(daemon: RunningDaemon) -> ssl.SSLContext:
    """The TLS of a paired device that may read."""
    return tls(daemon, daemon.pair_device("attacker", "auditors"))


def begun(number: int, path: bytes) -> bytes:
    """So many requests of which the beginning of a long message comes, and no more."""
    announced = struct.pack(">BI", 0, 15 * MIB) + bytes(100)
    return b"".join(
        frame(HEADERS, request(path), flags=END_HEADERS, stream=stream)
        + frame(DATA, announced, stream=stream)
        for stream in range(3, 3 + 2 * number, 2)
    )


@pytest.mark.parametrize("path", [CALL, WATCH, REFLECTION])
def test_a_device_leaves_few_requests_unfinished(
    daemon: RunningDaemon, context: ssl.SSLContext, path: bytes
) -> None:
    """Of hundreds that never end it is refused all but a few, though its connection is known."""
    number = 10 * MOST_LATE
    with dialled(daemon, context) as attacker:
        assert b"attacker" in push(attacker, OPENING + OPENED + EMPTY, SECONDS, b"attacker")
        attacker.sendall(begun(number, path))
        said, end = b"", time.monotonic() + SECONDS
        while said.count(TOO_MANY) < number - MOST_LATE and time.monotonic() < end:
            said += push(attacker, b"", 0.5)
        assert said.count(TOO_MANY) == number - MOST_LATE
        with daemon.client() as owner:
            assert owner.who_am_i().principal
        # And it may ask for other things all the same.
        whole = frame(HEADERS, request(), flags=END_HEADERS, stream=1001) + frame(
            DATA, bytes(5), flags=1, stream=1001
        )
        assert b"attacker" in push(attacker, whole, SECONDS, b"attacker")
    assert "Traceback" not in daemon.log
