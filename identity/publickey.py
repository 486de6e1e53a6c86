"""Reading untrusted PEM, and the one kind of key this package certifies: ECDSA on P-256.

Trusted to turn bytes of a stranger into one well-formed object or a refusal (MALFORMED,
WEAK_KEY). One block per input and nothing around it: PEM readers disagree about which of two
blocks counts, and what is checked must be what is used. One kind of key, so that there is no
negotiation and no weaker choice.
"""

import re
from collections.abc import Callable
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.utils import CryptographyDeprecationWarning

from identity.errors import Code, IdentityError, RequestError

MAX_PEM: Final = 16_384  # a P-256 request or certificate has under 2,000 bytes

# Everything the parser may raise for hostile DER; some only when an attribute is first read.
PARSE_ERRORS: Final = (
    ValueError,
    TypeError,
    OverflowError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    CryptographyDeprecationWarning,  # where warnings are errors: a serial number below 1
)
_STRONG_HASHES: Final = (hashes.SHA256, hashes.SHA384, hashes.SHA512)
_T = TypeVar("_T")


def one_pem(
    data: bytes, label: str, read: Callable[[bytes], _T], refusal: type[IdentityError]
) -> _T:
    """Read the only PEM block of `data`, which must be a `label` and nothing else."""
    form = rb"-----BEGIN %b-----\r?\n[A-Za-z0-9+/=\r\n]+-----END %b-----\s*"
    name = label.encode("ascii")
    if len(data) > MAX_PEM or not re.fullmatch(form % (name, name), data):
        raise refusal(
            Code.MALFORMED,
            f"the input is not one PEM block of type {label}",
            f"send exactly one {label} of at most {MAX_PEM} bytes",
        )
    try:
        return read(data)
    except PARSE_ERRORS:
        raise refusal(
            Code.MALFORMED, f"the {label} cannot be parsed", f"make a new {label}"
        ) from None


def require_p256(key: object, refusal: type[IdentityError]) -> ec.EllipticCurvePublicKey:
    """Let through nothing but a P-256 public key."""
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    raise refusal(
        Code.WEAK_KEY, "the key is not ECDSA on P-256", "make an ECDSA P-256 key and try again"
    )


def spki_der(key: ec.EllipticCurvePublicKey) -> bytes:
    """Write a key in the one form that is fingerprinted (uncompressed point)."""
    return key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def parse_public_key(pem: bytes) -> ec.EllipticCurvePublicKey:
    """Read a bare public key."""
    key = one_pem(pem, "PUBLIC KEY", serialization.load_pem_public_key, RequestError)
    return require_p256(key, RequestError)


def parse_request(csr_pem: bytes) -> ec.EllipticCurvePublicKey:
    """Read a signing request (PKCS #10, RFC 2986) and return the key its sender proved to hold.

    Nothing else of it is returned: subject and requested extensions are the sender's wishes, and
    the surest way to ignore a wish is not to hand it on.
    """
    request = one_pem(csr_pem, "CERTIFICATE REQUEST", x509.load_pem_x509_csr, RequestError)
    try:
        # The key's type first: verifying with a key of the sender's choosing can be made slow.
        key = require_p256(request.public_key(), RequestError)
        proved = (
            isinstance(request.signature_hash_algorithm, _STRONG_HASHES)
            and request.is_signature_valid
        )
    except PARSE_ERRORS:
        raise RequestError(
            Code.MALFORMED, "the request's key or signature cannot be read", "make a new request"
        ) from None
    if not proved:
        raise RequestError(
            Code.CSR_SIGNATURE_INVALID,
            "the request is not signed by the key it contains",
            "make the request on the device that holds the private key",
        )
    return key
