"""The certificate of a pairing listener: made for one invitation, known by its fingerprint alone.

A device that pairs knows no authority yet, so the pairing code carries the SHA-256 of this
one self-signed certificate, and the device accepts it and no other. Its key lives in memory
for as long as the invitation is open.
"""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from identity.validity import SKEW


@dataclass(frozen=True, slots=True)
class ListenerCertificate:
    """A private key and its self-signed certificate, PEM, and the certificate's SHA-256 (DER)."""

    key_pem: bytes = field(repr=False)
    pem: bytes
    fingerprint: bytes


def new_server_key() -> tuple[bytes, bytes]:
    """A P-256 key for a server, as private and public PEM. Never written anywhere."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return _private_pem(key), public


def make_listener(server_name: str, now: datetime, lifetime: timedelta) -> ListenerCertificate:
    """A new listener certificate for one invitation."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "stockade pairing")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + lifetime)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(server_name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    der = certificate.public_bytes(serialization.Encoding.DER)
    return ListenerCertificate(
        _private_pem(key),
        certificate.public_bytes(serialization.Encoding.PEM),
        hashlib.sha256(der).digest(),
    )


def _private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
