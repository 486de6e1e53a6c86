"""Somebody who stands between a device and the pairing listener, and has every byte in hand."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Self

import pytest

from identity.listener import make_listener
from stockade.errors import StockadeError
from stockade.home import Home
from stockade.pairing import pair
from stockade.pairing_code import SERVER_NAME, PairingCode
from tests.attacks.probing import sequence
from tests.attacks.test_pairing import invited
from tests.attacks.test_pairing_flood import pairs
from tests.running import RunningDaemon

SECONDS = 60


@dataclass
class Between:
    """Passes on the first so many connections as they are; the rest it answers in its own name.

    The device has its address: who holds the way to the listener needs no other code.
    """

    listener: PairingCode
    passed_on: int
    own: Path  # a key, and a certificate for the listener's name that is its own
    relayed: bytearray = field(default_factory=bytearray)
    read: bytearray = field(default_factory=bytearray)  # what a device has said to it in TLS
    answered: int = 0

    @property
    def code(self) -> PairingCode:
        """The code as its rightful user has it, with the way to the listener in other hands."""
        host, port = self.door.getsockname()
        return replace(self.listener, address=f"{host}:{port}")

    def __enter__(self) -> Self:
        self.door = socket.create_server(("127.0.0.1", 0))
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.door.shutdown(socket.SHUT_RDWR)
        self.door.close()

    def _serve(self) -> None:
        number = 0
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.door.accept()
                near.settimeout(SECONDS)
                number += 1
                how = self._relay if number <= self.passed_on else self._answer
                threading.Thread(target=how, args=(near,), daemon=True).start()

    def _relay(self, near: socket.socket) -> None:
        host, _, port = self.listener.address.rpartition(":")
        with near, socket.create_connection((host, int(port)), SECONDS) as far:
            back = threading.Thread(target=self._copy, args=(far, near), daemon=True)
            back.start()
            self._copy(near, far)
            back.join(SECONDS)

    def _copy(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                self.relayed += data
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def _answer(self, near: socket.socket) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.own)
        context.set_alpn_protocols(["h2"])
        self.answered += 1
        with near, contextlib.suppress(OSError), context.wrap_socket(near, server_side=True) as tls:
            while data := tls.recv(65536):
                self.read += data


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """A certificate for the listener's name, made as the daemon makes its own."""
    made = make_listener(SERVER_NAME, datetime.now(UTC), timedelta(hours=1))
    file = tmp_path / "own.pem"
    file.write_bytes(made.key_pem + made.pem)
    return file


@contextlib.contextmanager
def standing(code: PairingCode, passed_on: int, own: Path) -> Iterator[Between]:
    """Somebody in between."""
    with Between(code, passed_on, own) as one:
        yield one


@pytest.mark.parametrize(("passed_on", "reason"), [(0, "WRONG_LISTENER"), (1, "")])
def test_who_answers_in_the_listeners_place_is_told_nothing(
    shared_daemon: RunningDaemon, tmp_path: Path, own: Path, passed_on: int, reason: str
) -> None:
    """From the first connection, or once the right certificate was seen: no proof, no request.

    So the invitation is as good as before, for the device that gets through to it.
    """
    home = Home.under(tmp_path / "device")
    with shared_daemon.client() as client, invited(client) as (code, _):
        before = sequence(client)
        with standing(code, passed_on, own) as between:
            with pytest.raises(StockadeError) as caught:
                pair(between.code.text(), home.client, waiting=lambda _: None)
            assert between.answered
            assert not between.read
        assert reason in ("", caught.value.reason)
        assert not home.client.exists()
        assert sequence(client) == before
        assert pairs(client, code)


def test_who_passes_everything_on_reads_nothing(
    shared_daemon: RunningDaemon, tmp_path: Path, own: Path
) -> None:
    """All bytes of a pairing in hand: neither code nor certificate is to be seen in them."""
    home = Home.under(tmp_path / "device")
    shown: list[str] = []
    with shared_daemon.client() as client, invited(client) as (code, events):
        with standing(code, 1000, own) as between:
            device = threading.Thread(
                target=pair,
                args=(between.code.text(), home.client),
                kwargs={"waiting": shown.append},
            )
            device.start()
            words = next(events).waiting.words
            client.confirm_pairing(code.invitation_id, words, accept=True)
            device.join(SECONDS)
        assert shown == [words]
        assert not between.answered
        relayed = bytes(between.relayed)
        invitation = code.invitation_id.encode()
        for hidden in (code.secret, invitation, b"CERTIFICATE", words.encode(), b"approvers"):
            assert hidden not in relayed
        assert len(relayed) > 2000
