"""The certificate authority: one P-256 key that says which device, agent or daemon a key is.

Trusted to write, into every certificate, the name the *daemon* chose and nothing the requester
asked for; to certify only P-256 keys whose holder proved possession; to keep clients and servers
apart by extended key usage, so that a stolen device key can never pose as the daemon. It keeps no
registry and does not know what was revoked: that is the daemon's database. Clock values come in;
serial numbers are 159 random bits (RFC 5280 4.1.2.2). Raises `IdentityError` and its kinds only.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Self, final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from identity.authoritycert import (
    check_authority,
    issuer_name,
    key_usage,
    parse_authority_key,
)
from identity.errors import AuthorityError, Code
from identity.fingerprint import Fingerprint, spki_fingerprint
from identity.names import (
    AgentName,
    DeviceId,
    PrincipalName,
    Serial,
    TrustDomain,
    daemon_uri,
    serial_of,
    spiffe_uri,
)
from identity.publickey import one_pem, parse_public_key, parse_request, spki_der
from identity.servername import general_names
from identity.validity import SKEW, Validity, in_utc, leaf_validity

AUTHORITY_LIFETIME: Final = timedelta(days=3653)  # ten years


@final
@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """What was issued, as the registry wants to remember it."""

    pem: bytes
    serial: Serial
    spki_sha256: Fingerprint
    not_before: datetime
    not_after: datetime


@final
@dataclass(frozen=True, slots=True)
class Authority:
    """A CA key and its self-signed certificate, checked to belong together."""

    trust_domain: TrustDomain
    certificate: x509.Certificate = field(repr=False)
    _key: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def create(
        cls,
        trust_domain: TrustDomain,
        now: datetime,
        key: ec.EllipticCurvePrivateKey | None = None,
    ) -> Self:
        """Make a new authority for ten years, with that key (which may be in a token) or a new."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        second = in_utc(now).replace(microsecond=0)
        fingerprint = spki_fingerprint(spki_der(key.public_key()))
        name = _subject(f"stockade authority {fingerprint[:16]}")
        uri = x509.UniformResourceIdentifier(f"spiffe://{trust_domain}")
        builder = _builder(
            name, name, key.public_key(), Validity(second - SKEW, second + AUTHORITY_LIFETIME)
        )
        certificate = (
            builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(key_usage(key_cert_sign=True), critical=True)
            .add_extension(x509.SubjectAlternativeName([uri]), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(trust_domain, certificate, key)

    @classmethod
    def load(cls, key_pem: bytes, cert_pem: bytes) -> Self:
        """Take up an existing authority; key and certificate must be a pair `create` could make."""
        return cls.of(parse_authority_key(key_pem), cert_pem)

    @classmethod
    def of(cls, key: ec.EllipticCurvePrivateKey, cert_pem: bytes) -> Self:
        """Take up an existing authority whose key is at hand."""
        certificate = one_pem(
            cert_pem, "CERTIFICATE", x509.load_pem_x509_certificate, AuthorityError
        )
        return cls(check_authority(certificate, key.public_key()), certificate, key)

    @property
    def key_pem(self) -> bytes:
        """The private key, PKCS #8, unencrypted: for `identity.keyfile` and nothing else."""
        return self._key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    @property
    def cert_pem(self) -> bytes:
        """The certificate clients pin."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def spki_sha256(self) -> Fingerprint:
        """The fingerprint of the authority's key, as a pairing code carries it."""
        return spki_fingerprint(spki_der(self._key.public_key()))

    @property
    def name(self) -> str:
        """What `identity.peer.Peer.issuer` is for the certificates this authority issued."""
        return issuer_name(self.certificate.subject)

    @property
    def not_after(self) -> datetime:
        """When the authority ends."""
        return self.certificate.not_valid_after_utc

    def issue_device(
        self, csr_pem: bytes, device_id: DeviceId, now: datetime, lifetime: timedelta
    ) -> IssuedCertificate:
        """Certify that the key that signed this request is that device."""
        return self._issue_client(csr_pem, PrincipalName("device", device_id), now, lifetime)

    def issue_agent(
        self, csr_pem: bytes, agent: AgentName, now: datetime, lifetime: timedelta
    ) -> IssuedCertificate:
        """Certify that the key that signed this request is that agent."""
        return self._issue_client(csr_pem, PrincipalName("agent", agent), now, lifetime)

    def issue_server(
        self,
        public_key_pem: bytes,
        dns_names: Sequence[str],
        ip_addresses: Sequence[str],
        now: datetime,
        lifetime: timedelta,
    ) -> IssuedCertificate:
        """Certify the daemon's own key. No proof of possession: the key never left the process."""
        key = parse_public_key(public_key_pem)
        daemon = x509.UniformResourceIdentifier(daemon_uri(self.trust_domain))
        names = [daemon, *general_names(dns_names, ip_addresses)]
        usage = ExtendedKeyUsageOID.SERVER_AUTH
        return self._issue(key, "stockade daemon", names, usage, now, lifetime)

    def _issue_client(
        self, csr_pem: bytes, name: PrincipalName, now: datetime, lifetime: timedelta
    ) -> IssuedCertificate:
        uri = x509.UniformResourceIdentifier(spiffe_uri(self.trust_domain, name))
        usage = ExtendedKeyUsageOID.CLIENT_AUTH
        # The common name is for people reading a dump; nothing of ours ever reads it back.
        return self._issue(parse_request(csr_pem), name.id, [uri], usage, now, lifetime)

    def _issue(
        self,
        key: ec.EllipticCurvePublicKey,
        common_name: str,
        names: Sequence[x509.GeneralName],
        usage: x509.ObjectIdentifier,
        now: datetime,
        lifetime: timedelta,
    ) -> IssuedCertificate:
        own = Validity(self.certificate.not_valid_before_utc, self.not_after)
        if not own.covers(now):
            raise AuthorityError(
                Code.AUTHORITY_EXPIRED,
                f"the authority is valid from {own.not_before} to {own.not_after}, not now",
                "check the clock; an authority that has ended must be replaced",
            )
        validity = leaf_validity(now, lifetime, own)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = _builder(_subject(common_name), self.certificate.subject, key, validity)
        certificate = (
            builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(key_usage(digital_signature=True), critical=True)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(issuer, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return IssuedCertificate(
            certificate.public_bytes(serialization.Encoding.PEM),
            serial_of(certificate.serial_number),
            spki_fingerprint(spki_der(key)),
            validity.not_before,
            validity.not_after,
        )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, validity: Validity
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(validity.not_before)
        .not_valid_after(validity.not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _subject(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
