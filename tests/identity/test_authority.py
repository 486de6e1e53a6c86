"""What the authority certifies, and what it refuses to."""

import base64
import hashlib
from datetime import datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from identity.authority import AUTHORITY_LIFETIME, Authority, IssuedCertificate
from identity.authoritycert import certificate_fingerprint, key_usage
from identity.errors import AuthorityError, Code, IdentityError, RequestError
from identity.fingerprint import spki_fingerprint
from identity.names import AgentName, PrincipalName, TrustDomain
from identity.peer import parse_peer
from identity.publickey import parse_request, spki_der
from identity.validity import MAX_LIFETIME, SKEW
from tests.identity import making
from tests.identity.making import DEVICE, DEVICE_URI, DOMAIN, HOUR, NOW


def device(authority: Authority, request: bytes) -> IssuedCertificate:
    return authority.issue_device(request, DEVICE, NOW, HOUR)


def refusal_of(authority: Authority, request: bytes) -> Code:
    with pytest.raises(RequestError) as refusal:
        device(authority, request)
    return refusal.value.code


def test_the_authority_signs_certificates_and_nothing_else(authority: Authority) -> None:
    """The CA certificate is P-256, path length 0, keyCertSign only, ten years, self-signed."""
    certificate = authority.certificate
    extensions = certificate.extensions
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert constraints.critical
    assert usage.critical
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=0)
    assert usage.value == key_usage(key_cert_sign=True)
    assert isinstance(certificate.public_key(), ec.EllipticCurvePublicKey)
    assert certificate.not_valid_after_utc == NOW + AUTHORITY_LIFETIME
    certificate.verify_directly_issued_by(certificate)


def test_the_authority_is_loaded_as_it_was_made(authority: Authority) -> None:
    """Key and certificate survive storage, and the trust domain comes from the certificate."""
    loaded = Authority.load(authority.key_pem, authority.cert_pem)
    assert loaded.trust_domain == DOMAIN
    assert loaded.spki_sha256 == authority.spki_sha256
    assert authority.key_pem.startswith(b"-----BEGIN PRIVATE KEY-----")
    issued = device(loaded, making.csr(making.p256()))
    assert parse_peer(issued.pem, DOMAIN, NOW).name == PrincipalName("device", DEVICE)


def test_the_authority_never_prints_its_key(authority: Authority) -> None:
    """The authority's representation names the trust domain only."""
    assert repr(authority) == "Authority(trust_domain='stockade.example')"


def test_a_device_certificate_has_exactly_our_shape(authority: Authority) -> None:
    """Name, usage, window, serial and fingerprint are the daemon's choice, and reported truly."""
    key = making.p256()
    issued = device(authority, making.csr(key))
    certificate = x509.load_pem_x509_certificate(issued.pem)
    extensions = certificate.extensions
    san = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(san) == [x509.UniformResourceIdentifier(DEVICE_URI)]
    usages = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert issued.not_before == certificate.not_valid_before_utc == NOW - SKEW
    assert issued.not_after == certificate.not_valid_after_utc == NOW + HOUR
    assert int(issued.serial, 16) == certificate.serial_number
    assert issued.spki_sha256 == spki_fingerprint(spki_der(key.public_key()))
    certificate.verify_directly_issued_by(authority.certificate)


def test_serials_are_random(authority: Authority) -> None:
    """Two certificates for one request have different, long serial numbers."""
    request = making.csr(making.p256())
    first, second = (int(device(authority, request).serial, 16) for _ in range(2))
    assert first != second
    assert min(first, second).bit_length() > 100


def test_an_agent_is_certified_as_an_agent(authority: Authority) -> None:
    """An agent named like a device is still an agent."""
    issued = authority.issue_agent(making.csr(making.p256()), AgentName(DEVICE), NOW, HOUR)
    assert parse_peer(issued.pem, DOMAIN, NOW).name == PrincipalName("agent", AgentName(DEVICE))


def test_wishes_in_the_request_are_ignored(authority: Authority) -> None:
    """A request that asks for another subject, a foreign SAN and CA rights gets none of them."""
    foreign = making.uri(f"spiffe://{DOMAIN}/agent/admin")
    request = making.csr(making.p256(), subject="root", names=[foreign, x509.DNSName("daemon")])
    certificate = x509.load_pem_x509_certificate(device(authority, request).pem)
    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == DEVICE
    san = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert list(san) == [x509.UniformResourceIdentifier(DEVICE_URI)]
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 1024),  # noqa: S505 - the weakness is the subject
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP256K1()),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["rsa-1024", "rsa-2048", "p384", "secp256k1", "ed25519"],
)
def test_any_other_key_is_refused(authority: Authority, key: making.Key) -> None:
    """RSA, other curves and Ed25519 are refused, in requests and as server keys."""
    assert refusal_of(authority, making.csr(key)) is Code.WEAK_KEY
    with pytest.raises(RequestError) as refusal:
        authority.issue_server(making.public_pem(key), ["localhost"], [], NOW, HOUR)
    assert refusal.value.code is Code.WEAK_KEY


def test_a_request_without_possession_is_refused(authority: Authority) -> None:
    """A request for somebody else's public key, signed by one's own, is refused."""
    victim, attacker = making.p256(), making.p256()
    request = x509.load_pem_x509_csr(making.csr(attacker))
    der = request.public_bytes(serialization.Encoding.DER)
    swapped = der.replace(point(attacker), point(victim))
    assert swapped != der
    assert refusal_of(authority, csr_pem(swapped)) is Code.CSR_SIGNATURE_INVALID


def test_a_request_signed_with_sha1_is_refused(authority: Authority) -> None:
    """A valid signature over a broken hash proves nothing."""
    key = making.p256()
    body = x509.load_pem_x509_csr(making.csr(key)).tbs_certrequest_bytes
    digest = hashlib.sha1(body, usedforsecurity=False).digest()
    signature = key.sign(digest, ec.ECDSA(Prehashed(hashes.SHA1())))  # noqa: S303 - the subject
    algorithm = bytes.fromhex("300906072a8648ce3d0401")  # ecdsa-with-SHA1
    inner = body + algorithm + b"\x03" + bytes([len(signature) + 1]) + b"\x00" + signature
    der = b"\x30\x81" + bytes([len(inner)]) + inner
    assert refusal_of(authority, csr_pem(der)) is Code.CSR_SIGNATURE_INVALID


def test_a_request_signed_over_another_hash_is_refused(authority: Authority) -> None:
    """A valid signature over a hash that is not SHA-256, 384 or 512 is refused."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(making.name("me"))
    request = builder.sign(making.p256(), hashes.SHA224())
    assert request.is_signature_valid
    pem = request.public_bytes(serialization.Encoding.PEM)
    assert refusal_of(authority, pem) is Code.CSR_SIGNATURE_INVALID


def point(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
    )


def csr_pem(der: bytes) -> bytes:
    body = base64.encodebytes(der)
    return b"-----BEGIN CERTIFICATE REQUEST-----\n%b-----END CERTIFICATE REQUEST-----\n" % body


@given(st.data())
def test_a_tampered_request_is_refused(data: st.DataObject) -> None:
    """Changing any one byte of a request makes it unreadable, weak or unsigned."""
    der = bytearray(DER)
    place = data.draw(st.integers(0, len(der) - 1))
    der[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(RequestError):
        parse_request(csr_pem(bytes(der)))


DER = x509.load_pem_x509_csr(making.csr(making.p256())).public_bytes(serialization.Encoding.DER)


def test_two_requests_in_one_are_refused(authority: Authority) -> None:
    """One reader's first block is another's last, so two blocks or stray text are refused."""
    one, two = making.csr(making.p256()), making.csr(making.p256())
    for text in (one + two, b"hello\n" + one, one + b"bye", one.replace(b"CERT", b"NEW CERT")):
        assert refusal_of(authority, text) is Code.MALFORMED


def test_a_huge_request_is_not_parsed(authority: Authority) -> None:
    """A request padded to more than 16 KiB is refused by its size."""
    assert refusal_of(authority, making.csr(making.p256()) + b"\n" * 17_000) is Code.MALFORMED


@given(st.binary(max_size=400))
def test_no_bytes_break_the_request_parser(garbage: bytes) -> None:
    """Garbage, bare or inside a PEM block, raises the package's error only."""
    for text in (garbage, csr_pem(garbage)):
        with pytest.raises(IdentityError):
            parse_request(text)


@pytest.mark.parametrize(
    "lifetime", [timedelta(0), timedelta(seconds=-1), MAX_LIFETIME + timedelta(seconds=1)]
)
def test_an_absurd_lifetime_is_refused(authority: Authority, lifetime: timedelta) -> None:
    """Nothing, less than nothing and more than a year are refused."""
    with pytest.raises(RequestError) as refusal:
        authority.issue_device(making.csr(making.p256()), DEVICE, NOW, lifetime)
    assert refusal.value.code is Code.LIFETIME_OUT_OF_RANGE


def test_a_certificate_never_outlives_its_authority(authority: Authority) -> None:
    """Near its end the authority issues shorter certificates, afterwards none."""
    request = making.csr(making.p256())
    late = authority.not_after - timedelta(minutes=5)
    assert authority.issue_device(request, DEVICE, late, HOUR).not_after == authority.not_after
    for moment in (authority.not_after + HOUR, NOW - HOUR):
        with pytest.raises(AuthorityError) as refusal:
            authority.issue_device(request, DEVICE, moment, HOUR)
        assert refusal.value.code is Code.AUTHORITY_EXPIRED


def test_a_certificate_never_begins_before_its_authority(authority: Authority) -> None:
    """A clock that runs behind the authority's making does not predate the certificate."""
    early = NOW - SKEW / 2
    assert device_at(authority, early).not_before == NOW - SKEW


def test_a_time_without_a_zone_is_refused(authority: Authority) -> None:
    """A naive datetime would be read as local time and shift the expiry."""
    with pytest.raises(IdentityError) as refusal:
        device_at(authority, NOW.replace(tzinfo=None))
    assert refusal.value.code is Code.TIME_WITHOUT_ZONE


def device_at(authority: Authority, now: datetime) -> IssuedCertificate:
    return authority.issue_device(making.csr(making.p256()), DEVICE, now, HOUR)


def test_a_server_certificate_is_for_servers_only(authority: Authority) -> None:
    """The daemon's certificate has serverAuth only, its SPIFFE id and the names asked for."""
    issued = authority.issue_server(
        making.public_pem(making.p256()),
        ["localhost", "stockade.lan", "localhost"],
        ["127.0.0.1", "::1"],
        NOW,
        HOUR,
    )
    extensions = x509.load_pem_x509_certificate(issued.pem).extensions
    usages = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usages) == [ExtendedKeyUsageOID.SERVER_AUTH]
    san = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in san] == [
        f"spiffe://{DOMAIN}/daemon",
        "localhost",
        "stockade.lan",
        "127.0.0.1",
        "::1",
    ]


@pytest.mark.parametrize(
    ("dns", "addresses"),
    [
        ([], []),
        (["*.example"], []),
        (["Example"], []),
        (["a.example."], []),
        (["a..example"], []),
        (["127.1"], []),
        (["2130706433"], []),
        (["b\u00fccher.example"], []),
        (["a\x00.example"], []),
        (["a.example\n"], []),
        (["a" * 64], []),
        (["a." * 127 + "a"], []),
        ([], ["0.0.0.0"]),  # noqa: S104 - refused, not bound
        ([], ["::"]),
        ([], ["fe80::1%eth0"]),
        ([], ["224.0.0.1"]),
        ([], ["127.1"]),
        ([], ["010.0.0.1"]),
        ([], ["localhost"]),
        (["a"] * 65, []),
    ],
)
def test_a_doubtful_server_name_is_refused(
    authority: Authority, dns: list[str], addresses: list[str]
) -> None:
    """Wildcards, second spellings, undialable addresses and no name at all are refused."""
    with pytest.raises(RequestError) as refusal:
        authority.issue_server(making.public_pem(making.p256()), dns, addresses, NOW, HOUR)
    assert refusal.value.code is Code.SERVER_NAME_REFUSED


def test_a_mixed_up_authority_is_refused(authority: Authority) -> None:
    """The key of one authority with the certificate of another is refused."""
    other = Authority.create(DOMAIN, NOW)
    with pytest.raises(AuthorityError) as refusal:
        Authority.load(other.key_pem, authority.cert_pem)
    assert refusal.value.code is Code.AUTHORITY_KEY_MISMATCH


def test_an_authority_that_another_key_signed_is_refused() -> None:
    """A certificate for our key that is not signed by it was not made by us."""
    key = making.p256()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(making.name("ca"))
        .issuer_name(making.name("ca"))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + HOUR)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(key_cert_sign=True), critical=True)
        .add_extension(x509.SubjectAlternativeName([making.uri("spiffe://a")]), critical=False)
    )
    encoding = serialization.Encoding.PEM
    own = certificate.sign(key, hashes.SHA256()).public_bytes(encoding)
    foreign = certificate.sign(making.p256(), hashes.SHA256()).public_bytes(encoding)
    assert Authority.load(making.private_pem(key), own).trust_domain == "a"
    with pytest.raises(AuthorityError) as refusal:
        Authority.load(making.private_pem(key), foreign)
    assert refusal.value.code is Code.AUTHORITY_MALFORMED


def test_a_certificate_that_is_no_authority_is_refused(authority: Authority) -> None:
    """A device's own key and certificate cannot be taken up as an authority."""
    key = making.p256()
    issued = device(authority, making.csr(key))
    with pytest.raises(AuthorityError) as refusal:
        Authority.load(making.private_pem(key), issued.pem)
    assert refusal.value.code is Code.AUTHORITY_MALFORMED


@pytest.mark.parametrize(
    ("path_length", "domain"),
    [(None, "spiffe://a"), (1, "spiffe://a"), (0, "spiffe://A"), (0, "a:b")],
)
def test_a_wider_authority_is_refused(path_length: int | None, domain: str) -> None:
    """A CA that could make further CAs, or names no trust domain, is not ours."""
    key = making.p256()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(making.name("ca"))
        .issuer_name(making.name("ca"))
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + HOUR)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(key_usage(key_cert_sign=True), critical=True)
        .add_extension(x509.SubjectAlternativeName([making.uri(domain)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    with pytest.raises(AuthorityError) as refusal:
        Authority.load(
            making.private_pem(key), certificate.public_bytes(serialization.Encoding.PEM)
        )
    assert refusal.value.code is Code.AUTHORITY_MALFORMED


def test_an_authority_of_another_key_type_is_refused(authority: Authority) -> None:
    """An authority key that is not P-256 is refused."""
    for key in (ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP384R1())):
        with pytest.raises(AuthorityError) as refusal:
            Authority.load(making.private_pem(key), authority.cert_pem)
        assert refusal.value.code is Code.WEAK_KEY


@given(st.binary(max_size=200))
def test_no_bytes_break_the_authority_loader(garbage: bytes) -> None:
    """Garbage in either file raises the package's error only."""
    wrapped = base64.encodebytes(garbage)
    key = b"-----BEGIN PRIVATE KEY-----\n%b-----END PRIVATE KEY-----\n" % wrapped
    certificate = b"-----BEGIN CERTIFICATE-----\n%b-----END CERTIFICATE-----\n" % wrapped
    for pair in ((garbage, garbage), (key, certificate), (LOADED.key_pem, certificate)):
        with pytest.raises(AuthorityError):
            Authority.load(*pair)


LOADED = Authority.create(TrustDomain("a"), NOW)


def test_the_registry_has_the_times_of_the_certificate(authority: Authority) -> None:
    """A lifetime of no whole number of seconds is cut to one, in the certificate and beside it."""
    issued = authority.issue_device(
        making.csr(making.p256()), DEVICE, NOW, timedelta(seconds=3, milliseconds=600)
    )
    certificate = x509.load_pem_x509_certificate(issued.pem)
    assert issued.not_before == certificate.not_valid_before_utc
    assert issued.not_after == certificate.not_valid_after_utc == NOW + timedelta(seconds=3)


def test_an_authority_is_told_by_its_certificate(authority: Authority) -> None:
    """The fingerprint that a certificate gives is that of the key; garbage gives none."""
    assert certificate_fingerprint(authority.cert_pem) == authority.spki_sha256
    for garbage in (b"", b"x", authority.cert_pem * 2, authority.key_pem):
        with pytest.raises(AuthorityError):
            certificate_fingerprint(garbage)
