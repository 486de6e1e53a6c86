"""From certificate to principal."""

import base64
import contextlib
import warnings
from collections.abc import Sequence
from datetime import timedelta
from typing import Literal

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from hypothesis import given
from hypothesis import strategies as st

from identity.authority import Authority
from identity.errors import Code, IdentityError, PeerError
from identity.fingerprint import spki_fingerprint
from identity.names import PrincipalName, TrustDomain
from identity.peer import parse_peer
from identity.publickey import spki_der
from identity.validity import SKEW
from tests.identity import making
from tests.identity.making import DEVICE, DEVICE_URI, DOMAIN, HOUR, NOW

CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH
SECOND = timedelta(seconds=1)


def refusal_of(pem: bytes) -> Code:
    with pytest.raises(PeerError) as refusal:
        parse_peer(pem, DOMAIN, NOW)
    assert refusal.value.fix
    return refusal.value.code


def test_an_issued_certificate_names_its_device(authority: Authority) -> None:
    """The principal, serial, key and window are those of the certificate issued."""
    key = making.p256()
    issued = authority.issue_device(making.csr(key), DEVICE, NOW, HOUR)
    peer = parse_peer(issued.pem, DOMAIN, NOW)
    assert peer.name == PrincipalName("device", DEVICE)
    assert peer.serial == issued.serial
    assert peer.spki_sha256 == spki_fingerprint(spki_der(key.public_key()))
    assert (peer.not_before, peer.not_after) == (NOW - SKEW, NOW + HOUR)


def test_the_common_name_says_nothing(authority: Authority) -> None:
    """A certificate whose common name is another device's is still only its own SAN."""
    pem = making.certificate(authority, subject="dev-zzzzzzzzzzzzzzzz")
    assert parse_peer(pem, DOMAIN, NOW).name == PrincipalName("device", DEVICE)


def test_a_certificate_with_only_a_common_name_is_nobody(authority: Authority) -> None:
    """Without a SAN the common name does not step in."""
    pem = making.certificate(authority, names=[], subject=DEVICE_URI)
    assert refusal_of(pem) is Code.SAN_MISSING


ANOTHER = making.uri(f"spiffe://{DOMAIN}/agent/admin")
OURS = making.uri(DEVICE_URI)


@pytest.mark.parametrize(
    ("names", "code"),
    [
        ([x509.DNSName("client")], Code.SAN_MISSING),
        ([OURS, ANOTHER], Code.SAN_AMBIGUOUS),
        ([OURS, OURS], Code.SAN_AMBIGUOUS),
        ([OURS, x509.DNSName("client")], Code.SAN_AMBIGUOUS),
        ([OURS, x509.RFC822Name("admin@example.com")], Code.SAN_AMBIGUOUS),
        ([making.uri("spiffe://other.example/agent/a")], Code.SAN_FOREIGN_DOMAIN),
        ([making.uri(f"spiffe://{DOMAIN}/daemon")], Code.SAN_MALFORMED),
        ([making.uri(f"spiffe://{DOMAIN}/agent/Admin")], Code.SAN_MALFORMED),
        ([making.uri("https://example.com")], Code.SAN_MALFORMED),
    ],
)
def test_a_certificate_names_exactly_one_principal(
    authority: Authority, names: Sequence[x509.GeneralName], code: Code
) -> None:
    """No URI, two URIs, other names beside it, foreign and malformed ids are refused."""
    assert refusal_of(making.certificate(authority, names=names)) is code


@pytest.mark.parametrize(
    "usages",
    [
        None,
        [SERVER],
        [CLIENT, SERVER],
        [ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE],
        [CLIENT, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE],
        [CLIENT, ExtendedKeyUsageOID.CODE_SIGNING],
    ],
)
def test_only_a_client_certificate_is_a_client(
    authority: Authority, usages: Sequence[x509.ObjectIdentifier] | None
) -> None:
    """A missing, server, any or additional extended key usage is refused."""
    assert refusal_of(making.certificate(authority, usages=usages)) is Code.CERT_NOT_CLIENT


def test_the_daemons_certificate_is_no_client(authority: Authority) -> None:
    """The daemon's own certificate, turned against it, is refused."""
    issued = authority.issue_server(making.public_pem(making.p256()), ["localhost"], [], NOW, HOUR)
    assert refusal_of(issued.pem) is Code.CERT_NOT_CLIENT


def test_an_authority_is_no_client(authority: Authority) -> None:
    """A certificate that may sign certificates is refused."""
    assert refusal_of(authority.cert_pem) is Code.CERT_IS_CA
    assert refusal_of(making.certificate(authority, ca=True)) is Code.CERT_IS_CA
    assert refusal_of(making.certificate(authority, cert_sign=True)) is Code.CERT_IS_CA


def test_a_certificate_without_constraints_is_refused(authority: Authority) -> None:
    """A certificate that does not say what it is for is not one of ours."""
    assert refusal_of(making.certificate(authority, basics=False)) is Code.MALFORMED


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["rsa", "p384", "ed25519"],
)
def test_a_key_of_another_kind_is_refused(authority: Authority, key: making.Key) -> None:
    """Only P-256 keys are principals."""
    assert refusal_of(making.certificate(authority, key=key)) is Code.WEAK_KEY


def test_an_expired_certificate_is_refused(authority: Authority) -> None:
    """A second after its end a certificate is nobody's."""
    pem = making.certificate(authority, window=(NOW - HOUR, NOW - SECOND))
    assert refusal_of(pem) is Code.CERT_EXPIRED


def test_a_certificate_of_tomorrow_is_refused(authority: Authority) -> None:
    """A second before its start a certificate is nobody's."""
    pem = making.certificate(authority, window=(NOW + SECOND, NOW + HOUR))
    assert refusal_of(pem) is Code.CERT_NOT_YET_VALID


def test_a_connection_ends_with_its_certificate(authority: Authority) -> None:
    """A long-lived connection can be judged again: both ends of the window are inside it."""
    peer = parse_peer(making.certificate(authority), DOMAIN, NOW)
    assert peer.valid_at(NOW - HOUR)
    assert peer.valid_at(NOW + HOUR)
    assert not peer.valid_at(NOW - HOUR - SECOND)
    assert not peer.valid_at(NOW + HOUR + timedelta(microseconds=1))
    with pytest.raises(IdentityError):
        peer.valid_at(NOW.replace(tzinfo=None))


def test_another_trust_domain_is_another_world(authority: Authority) -> None:
    """The same certificate is refused by a daemon of another trust domain."""
    with pytest.raises(PeerError) as refusal:
        parse_peer(making.certificate(authority), TrustDomain("other.example"), NOW)
    assert refusal.value.code is Code.SAN_FOREIGN_DOMAIN


def test_a_chain_is_not_a_certificate(authority: Authority) -> None:
    """Two certificates in one input are refused: either could be the peer."""
    pem = making.certificate(authority)
    assert refusal_of(pem + authority.cert_pem) is Code.MALFORMED


def test_a_duplicated_extension_is_refused(authority: Authority) -> None:
    """A certificate with the same extension twice is ambiguous (RFC 5280 4.2)."""
    certificate = x509.load_pem_x509_certificate(making.certificate(authority))
    der = certificate.public_bytes(serialization.Encoding.DER)
    # basicConstraints (2.5.29.19) is renamed to keyUsage (2.5.29.15), which is there already.
    twice = der.replace(bytes.fromhex("0603551d13"), bytes.fromhex("0603551d0f"))
    assert twice != der
    assert refusal_of(pem_of(twice)) is Code.MALFORMED


@pytest.mark.parametrize("action", ["ignore", "error"])
def test_a_negative_serial_is_refused(
    action: Literal["ignore", "error"],
) -> None:
    """A serial number below 1 would match no entry of the registry."""
    der = bytearray(DER)
    place = der.index(bytes.fromhex("a00302010202")) + 7  # version 3, then an INTEGER
    der[place] |= 0x80
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        assert refusal_of(pem_of(bytes(der))) is Code.MALFORMED


def pem_of(der: bytes) -> bytes:
    body = base64.encodebytes(der)
    return b"-----BEGIN CERTIFICATE-----\n%b-----END CERTIFICATE-----\n" % body


@given(st.binary(max_size=400))
def test_no_bytes_break_the_parser(garbage: bytes) -> None:
    """Garbage, bare or inside a PEM block, raises the package's error only."""
    for text in (garbage, pem_of(garbage)):
        with pytest.raises(PeerError):
            parse_peer(text, DOMAIN, NOW)


DER = x509.load_pem_x509_certificate(
    making.certificate(Authority.create(DOMAIN, NOW))
).public_bytes(serialization.Encoding.DER)


@given(st.data())
def test_a_damaged_certificate_never_raises_anything_else(data: st.DataObject) -> None:
    """Bytes changed, the answer is a principal (TLS checks signatures) or the package's error."""
    der = bytearray(DER)
    for _ in range(data.draw(st.integers(1, 3))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(PeerError):
        parse_peer(pem_of(bytes(der)), DOMAIN, NOW)


def test_a_peer_is_told_by_its_issuer(authority: Authority) -> None:
    """Two authorities of one trust domain are told apart, whatever else is the same."""
    other = Authority.create(DOMAIN, NOW)
    key = making.p256()
    issuers = [
        parse_peer(making.certificate(one, key=key), DOMAIN, NOW).issuer
        for one in (authority, other)
    ]
    assert issuers == [authority.name, other.name]
    assert issuers[0] != issuers[1]
