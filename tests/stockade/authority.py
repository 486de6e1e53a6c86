"""A certificate authority for tests: the same shapes as the daemon's, made with cryptography."""

import datetime as dt

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

HOUR = dt.timedelta(hours=1)


def pem_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


class Authority:
    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = _build("test authority", self.key.public_key(), None, self.key, ca=True)

    @property
    def pem(self) -> bytes:
        return pem(self.certificate)

    def issue(
        self,
        public_key: ec.EllipticCurvePublicKey,
        name: str,
        start: dt.timedelta = -HOUR,
        end: dt.timedelta = 24 * HOUR,
    ) -> bytes:
        return pem(
            _build(name, public_key, self.certificate, self.key, ca=False, start=start, end=end)
        )

    def sign_request(self, request: bytes, end: dt.timedelta = 24 * HOUR) -> bytes:
        key = x509.load_pem_x509_csr(request).public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey)
        return self.issue(key, "device", end=end)


def self_signed(key: ec.EllipticCurvePrivateKey, name: str) -> x509.Certificate:
    return _build(name, key.public_key(), None, key, ca=False)


def _build(
    name: str,
    public_key: ec.EllipticCurvePublicKey,
    issuer: x509.Certificate | None,
    key: ec.EllipticCurvePrivateKey,
    *,
    ca: bool,
    start: dt.timedelta = -HOUR,
    end: dt.timedelta = 24 * HOUR,
) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.subject if issuer else subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + start)
        .not_valid_after(now + end)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
