"""Keys, requests and certificates as a client, or an attacker, would make them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, utils
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from identity.authority import Authority
from identity.authoritycert import key_usage
from identity.names import DeviceId, TrustDomain
from identity.tokenkey import TokenKey

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)
DOMAIN = TrustDomain("stockade.example")
DEVICE = DeviceId("dev-abcdefghij234567")
DEVICE_URI = f"spiffe://{DOMAIN}/device/{DEVICE}"

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


def p256() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def posing_as(
    public: ec.EllipticCurvePublicKey, signer: ec.EllipticCurvePrivateKey
) -> ec.EllipticCurvePrivateKey:
    """A key that says it is one and signs with another."""
    algorithm = ec.ECDSA(utils.Prehashed(hashes.SHA256()))
    return TokenKey(public, lambda digest: signer.sign(digest, algorithm))


def name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def uri(text: str) -> x509.UniformResourceIdentifier:
    # Attackers are not bound by the constructor's checks; neither is the encoder.
    return x509.UniformResourceIdentifier(text)


def csr(key: Key, *, subject: str = "me", names: Sequence[x509.GeneralName] = ()) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(name(subject))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        builder = builder.add_extension(x509.BasicConstraints(True, None), critical=True)
    digest = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, digest).public_bytes(serialization.Encoding.PEM)


def public_pem(key: Key) -> bytes:
    return key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def private_pem(key: Key) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def certificate(
    authority: Authority,
    *,
    key: Key | None = None,
    names: Sequence[x509.GeneralName] | None = None,
    usages: Sequence[x509.ObjectIdentifier] | None = (ExtendedKeyUsageOID.CLIENT_AUTH,),
    ca: bool = False,
    cert_sign: bool = False,
    basics: bool = True,
    subject: str = "device",
    window: tuple[datetime, datetime] = (NOW - HOUR, NOW + HOUR),
) -> bytes:
    """Sign by the authority's key a client certificate that differs from ours in what is named."""
    chosen = key or p256()
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(authority.certificate.subject)
        .public_key(chosen.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(window[0])
        .not_valid_after(window[1])
    )
    if basics:
        builder = builder.add_extension(
            x509.BasicConstraints(ca, None), critical=True
        ).add_extension(key_usage(digital_signature=True, key_cert_sign=cert_sign), critical=True)
    if usages is not None:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usages), critical=True)
    san = [uri(DEVICE_URI)] if names is None else list(names)
    if san:
        builder = builder.add_extension(x509.SubjectAlternativeName(san), critical=False)
    signed = builder.sign(authority._key, hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM)
