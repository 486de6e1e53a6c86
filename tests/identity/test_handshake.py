"""The certificates in a real TLS handshake: what OpenSSL lets through, and what it does not."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from identity.authority import Authority, IssuedCertificate
from identity.names import PrincipalName
from identity.peer import parse_peer
from tests.identity import making
from tests.identity.making import DEVICE, DOMAIN, HOUR

# OpenSSL reads the real clock.
TODAY = datetime.now(UTC)


@pytest.fixture
def live() -> Authority:
    return Authority.create(DOMAIN, TODAY - timedelta(days=10))


def context(
    side: int, folder: Path, trusted: Authority, key: making.Key, own: IssuedCertificate
) -> ssl.SSLContext:
    made = ssl.SSLContext(side)
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    made.verify_mode = ssl.CERT_REQUIRED
    made.load_verify_locations(cadata=trusted.cert_pem.decode())
    bundle = folder / f"{own.serial}.pem"
    bundle.write_bytes(making.private_pem(key) + own.pem)
    made.load_cert_chain(bundle)
    return made


def handshake(
    folder: Path, daemon: Authority, client_key: making.Key, own: IssuedCertificate
) -> bytes:
    """Connect to a daemon of `daemon` and return the client certificate it saw, as PEM."""
    key = making.p256()
    certificate = daemon.issue_server(
        making.public_pem(key), ["localhost"], ["127.0.0.1"], TODAY, HOUR
    )
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = context(ssl.PROTOCOL_TLS_SERVER, folder, daemon, key, certificate).wrap_bio(
        to_server, to_client, server_side=True
    )
    client = context(ssl.PROTOCOL_TLS_CLIENT, folder, daemon, client_key, own).wrap_bio(
        to_client, to_server, server_hostname="localhost"
    )
    for _ in range(5):
        for end in (client, server):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    seen = server.getpeercert(binary_form=True)
    assert seen is not None
    return ssl.DER_cert_to_PEM_cert(seen).encode()


def test_a_paired_device_is_seen_as_itself(live: Authority, tmp_path: Path) -> None:
    """A device of this authority gets through and is named by its certificate."""
    key = making.p256()
    own = live.issue_device(making.csr(key), DEVICE, TODAY, HOUR)
    pem = handshake(tmp_path, live, key, own)
    assert parse_peer(pem, DOMAIN, TODAY).name == PrincipalName("device", DEVICE)


def test_a_device_of_another_authority_is_refused(live: Authority, tmp_path: Path) -> None:
    """A second authority that claims the same trust domain and device id gets nobody in."""
    key = making.p256()
    impostor = Authority.create(DOMAIN, TODAY)
    own = impostor.issue_device(making.csr(key), DEVICE, TODAY, HOUR)
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tmp_path, live, key, own)


def test_a_device_cannot_certify_another(live: Authority, tmp_path: Path) -> None:
    """A certificate signed by a device's key is refused: path length 0, and no device is a CA."""
    key = making.p256()
    device = live.issue_device(making.csr(key), DEVICE, TODAY, HOUR)
    forger = Authority(DOMAIN, live.certificate, key)
    inner = making.p256()
    forged = forger.issue_device(making.csr(inner), DEVICE, TODAY, HOUR)
    chained = IssuedCertificate(
        forged.pem + device.pem, forged.serial, forged.spki_sha256, TODAY, TODAY
    )
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(tmp_path, live, inner, chained)


def test_a_server_certificate_is_refused_as_a_client(live: Authority, tmp_path: Path) -> None:
    """A stolen daemon key opens no connection as a client."""
    key = making.p256()
    own = live.issue_server(making.public_pem(key), ["localhost"], [], TODAY, HOUR)
    with pytest.raises(ssl.SSLCertVerificationError, match="purpose"):
        handshake(tmp_path, live, key, own)


def test_an_expired_device_is_refused(live: Authority, tmp_path: Path) -> None:
    """A certificate that ended yesterday opens no connection."""
    key = making.p256()
    own = live.issue_device(making.csr(key), DEVICE, TODAY - timedelta(days=1), HOUR)
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        handshake(tmp_path, live, key, own)
