"""What makes a certificate and key fit to be this installation's authority.

Trusted to refuse, at start, an authority file that was swapped, mixed up or made by something
else: the pair must match, sign itself, be a CA of path length 0 that signs certificates and
nothing else, and name its trust domain. Raises `AuthorityError`.
"""

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from identity.errors import AuthorityError, Code, NamingError
from identity.fingerprint import Fingerprint, spki_fingerprint
from identity.names import TrustDomain
from identity.publickey import PARSE_ERRORS, one_pem, require_p256, spki_der

_RESTORE = "restore the authority's key and certificate from the same backup"


def key_usage(*, digital_signature: bool = False, key_cert_sign: bool = False) -> x509.KeyUsage:
    """Build a key usage with only the bits named (RFC 5280 4.2.1.3)."""
    return x509.KeyUsage(
        digital_signature=digital_signature,
        key_cert_sign=key_cert_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )


def issuer_name(name: x509.Name) -> str:
    """An authority's name as text, to tell two authorities apart: its DER in hexadecimal."""
    return name.public_bytes().hex()


def parse_authority_key(key_pem: bytes) -> ec.EllipticCurvePrivateKey:
    """Read the authority's PKCS #8 private key."""

    def read(data: bytes) -> object:
        return serialization.load_pem_private_key(data, password=None)

    key = one_pem(key_pem, "PRIVATE KEY", read, AuthorityError)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise AuthorityError(Code.WEAK_KEY, "the authority's key is not ECDSA on P-256", _RESTORE)
    require_p256(key.public_key(), AuthorityError)
    return key


def new_authority_key() -> tuple[ec.EllipticCurvePrivateKey, bytes]:
    """A new key, and its PKCS #8 form, unencrypted: for a private file and nothing else."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return key, pem


def certificate_fingerprint(cert_pem: bytes) -> Fingerprint:
    """The fingerprint of the key in an authority's certificate."""
    certificate = one_pem(cert_pem, "CERTIFICATE", x509.load_pem_x509_certificate, AuthorityError)
    try:
        key = require_p256(certificate.public_key(), AuthorityError)
    except PARSE_ERRORS:
        raise _malformed("has a key that cannot be read") from None
    return spki_fingerprint(spki_der(key))


def check_authority(certificate: x509.Certificate, key: ec.EllipticCurvePublicKey) -> TrustDomain:
    """Check the pair and return the trust domain it is the authority of."""
    try:
        same = spki_der(require_p256(certificate.public_key(), AuthorityError)) == spki_der(key)
        certificate.verify_directly_issued_by(certificate)
        extensions = certificate.extensions
        constraints = extensions.get_extension_for_class(x509.BasicConstraints).value
        usage = extensions.get_extension_for_class(x509.KeyUsage).value
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        shape = (constraints.ca, constraints.path_length, usage, len(names), len(uris))
    except (*PARSE_ERRORS, InvalidSignature, x509.ExtensionNotFound):
        raise _malformed("is not a self-signed authority") from None
    if not same:
        raise AuthorityError(
            Code.AUTHORITY_KEY_MISMATCH, "the authority's key and certificate differ", _RESTORE
        )
    if shape != (True, 0, key_usage(key_cert_sign=True), 1, 1):
        raise _malformed("may do more, or other things, than sign this installation's keys")
    try:
        return TrustDomain(uris[0].removeprefix("spiffe://"))
    except NamingError:
        raise _malformed("names no trust domain") from None


def _malformed(what: str) -> AuthorityError:
    return AuthorityError(Code.AUTHORITY_MALFORMED, f"the authority's certificate {what}", _RESTORE)
