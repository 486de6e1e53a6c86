"""The device's half of pairing, against a real listener."""

import hashlib
import socket
import struct
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from stockade.credentials import load_credentials, make_key, public_key_info
from stockade.errors import DaemonUnreachable, PairingFailed, StockadeError
from stockade.pairing import pair
from stockade.pairing_code import SERVER_NAME, PairingCode
from stockade.v1 import device_pb2, device_pb2_grpc
from stockade.words import words as own_words
from tests.stockade.authority import Authority, pem, pem_key, self_signed
from tests.stockade.conftest import Stockade
from tests.stockade.serving import refuse

SECRET = b"0123456789abcdef"


class Listener(device_pb2_grpc.PairingServiceServicer):
    def __init__(self) -> None:
        self.authority = Authority()
        self.requests: list[device_pb2.PairRequest] = []
        self.issue_for_other_key = False
        self.says_words = ""
        key = make_key()
        certificate = self_signed(key, SERVER_NAME)
        der = certificate.public_bytes(serialization.Encoding.DER)
        self._server = grpc.server(ThreadPoolExecutor(2))
        device_pb2_grpc.add_PairingServiceServicer_to_server(self, self._server)
        port = self._server.add_secure_port(
            "127.0.0.1:0", grpc.ssl_server_credentials([(pem_key(key), pem(certificate))])
        )
        self.code = PairingCode(f"127.0.0.1:{port}", hashlib.sha256(der).digest(), SECRET)
        self._server.start()

    def Pair(self, request: Any, context: Any) -> Iterator[device_pb2.PairEvent]:  # noqa: N802
        self.requests.append(request)
        csr = x509.load_pem_x509_csr(request.certificate_request)
        spki = csr.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        if request.proof != self.code.proof(hashlib.sha256(spki).digest()):
            refuse(context, grpc.StatusCode.PERMISSION_DENIED, "PAIRING_REFUSED", "no")
        yield device_pb2.PairEvent(waiting=device_pb2.PairEvent.Waiting(words=self.says_words))
        if self.issue_for_other_key:
            certificate = self.authority.issue(make_key().public_key(), "device")
        else:
            certificate = self.authority.sign_request(request.certificate_request)
        yield device_pb2.PairEvent(
            paired=device_pb2.PairEvent.Paired(
                device_id="dev-aaaaaaaaaaaaaaaa",
                name="phone",
                certificate=certificate,
                authority=self.authority.pem,
                address="127.0.0.1:7607",
            )
        )

    def stop(self) -> None:
        self._server.stop(None).wait()


@pytest.fixture
def listener() -> Iterator[Listener]:
    one = Listener()
    yield one
    one.stop()


def test_pairs(listener: Listener, tmp_path: Path) -> None:
    """A right code ends in credentials for a key that was made here and never sent."""
    words: list[str] = []
    made = pair(listener.code.text(), tmp_path / "client", waiting=words.append)
    stored = load_credentials(tmp_path / "client")
    assert (stored.device_id, stored.name, stored.address) == (
        "dev-aaaaaaaaaaaaaaaa",
        "phone",
        "127.0.0.1:7607",
    )
    assert stored.key_bytes == made.key_bytes
    assert words == [own_words(hashlib.sha256(public_key_info(made.key)).hexdigest())]
    sent = listener.requests[0].SerializeToString()
    assert SECRET not in sent
    assert b"PRIVATE KEY" not in sent


def test_impostor(listener: Listener, tmp_path: Path) -> None:
    """A listener with another certificate than the code names is sent nothing at all."""
    code = PairingCode(listener.code.address, b"\0" * 32, SECRET)
    with pytest.raises(PairingFailed) as caught:
        pair(code.text(), tmp_path / "client", waiting=lambda _: None)
    assert caught.value.reason == "WRONG_LISTENER"
    assert listener.requests == []


def test_wrong_secret(listener: Listener, tmp_path: Path) -> None:
    """A wrong proof is refused, and nothing is stored."""
    code = PairingCode(listener.code.address, listener.code.certificate_fingerprint, b"x" * 16)
    with pytest.raises(StockadeError) as caught:
        pair(code.text(), tmp_path / "client", waiting=lambda _: None)
    assert caught.value.reason == "PAIRING_REFUSED"
    assert not (tmp_path / "client").exists()


def test_certificate_for_another_key(listener: Listener, tmp_path: Path) -> None:
    """A certificate for a key that is not ours is not stored."""
    listener.issue_for_other_key = True
    with pytest.raises(PairingFailed):
        pair(listener.code.text(), tmp_path / "client", waiting=lambda _: None)
    assert not (tmp_path / "client").exists()


def test_words_of_another_key(listener: Listener, tmp_path: Path) -> None:
    """Words that are not those of this device's key end the pairing; nobody is shown them."""
    listener.says_words = "oak-oak-oak-oak-oak-oak-oak-oak"
    shown: list[str] = []
    with pytest.raises(PairingFailed) as caught:
        pair(listener.code.text(), tmp_path / "client", waiting=shown.append)
    assert caught.value.reason == "WORDS_DIFFER"
    assert shown == []


def test_already_paired(listener: Listener, tmp_path: Path) -> None:
    """A device that is paired is not overwritten."""
    pair(listener.code.text(), tmp_path / "client", waiting=lambda _: None)
    with pytest.raises(PairingFailed) as caught:
        pair(listener.code.text(), tmp_path / "client", waiting=lambda _: None)
    assert caught.value.reason == "ALREADY_PAIRED"
    assert len(listener.requests) == 1


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere", "127.0.0.1:99999", "h:x", ":"])
def test_nobody_there(tmp_path: Path, address: str) -> None:
    """An address where nobody listens, or that is none, is an error with a fix."""
    code = PairingCode(address, b"\0" * 32, SECRET)
    with pytest.raises(DaemonUnreachable):
        pair(code.text(), tmp_path / "client", waiting=lambda _: None)


def test_reset_at_once(tmp_path: Path) -> None:
    """A listener that is just ending resets who comes: said so, and no descriptor is left open.

    Whatever is left is a `ResourceWarning` here, which is an error.
    """
    times = 500  # the moment has to be met
    with socket.create_server(("127.0.0.1", 0)) as ending:
        # Inherited by what it accepts: that is closed with a reset.
        ending.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        thread = threading.Thread(target=_hang_up, args=(ending, times))
        thread.start()
        host, port = ending.getsockname()
        code = PairingCode(f"{host}:{port}", b"\0" * 32, SECRET)
        for _ in range(times):
            with pytest.raises(DaemonUnreachable):
                pair(code.text(), tmp_path / "client", waiting=lambda _: None)
        thread.join()


def _hang_up(listening: socket.socket, times: int) -> None:
    for _ in range(times):
        listening.accept()[0].close()


@pytest.mark.parametrize("text", ["", "hello", "stockade-pair-1:", "stockade-pair-1:zzzz"])
def test_no_code(tmp_path: Path, text: str) -> None:
    """What is no pairing code is refused before anyone is dialled."""
    with pytest.raises(PairingFailed) as caught:
        pair(text, tmp_path / "client", waiting=lambda _: None)
    assert caught.value.reason == "PAIRING_CODE_INVALID"


def test_command(listener: Listener, stockade: Stockade) -> None:
    """`stockade pair -` keeps the code out of the process list."""
    result = stockade("pair", "-", "--json", stdin=listener.code.text().encode())
    assert result.status == 0
    assert '"event": "waiting"' in result.out
    assert '"device_id": "dev-aaaaaaaaaaaaaaaa"' in result.out
