"""Private keys that cannot be read: as `cryptography` signs certificates with them, and bare.

Trusted to sign and to do nothing else: whatever would give the key away, or use it for another
purpose, raises `TokenError`. Where the key is, is known to the function that signs.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Never, final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from identity.errors import Code, TokenError


@final
class TokenKey(ec.EllipticCurvePrivateKey):
    """See the module. `sign_digest` makes the DER signature of a SHA-256 digest."""

    def __init__(
        self, public: ec.EllipticCurvePublicKey, sign_digest: Callable[[bytes], bytes]
    ) -> None:
        self._public = public
        self._sign_digest = sign_digest

    def sign(self, data: object, signature_algorithm: ec.EllipticCurveSignatureAlgorithm) -> bytes:
        """Signs, by ECDSA with SHA-256."""
        known = isinstance(signature_algorithm, ec.ECDSA) and isinstance(
            signature_algorithm.algorithm, hashes.SHA256
        )
        if not (known and isinstance(data, bytes)):
            _refuse("signs by ECDSA with SHA-256 alone")
        return self._sign_digest(hashlib.sha256(data).digest())

    def public_key(self) -> ec.EllipticCurvePublicKey:
        """Its public key."""
        return self._public

    @property
    def curve(self) -> ec.EllipticCurve:
        """P-256."""
        return self._public.curve

    @property
    def key_size(self) -> int:
        """In bits."""
        return self._public.key_size

    def exchange(self, *_: object) -> Never:
        """Refused."""
        _refuse("signs, and agrees on no keys")

    def private_numbers(self) -> Never:
        """Refused."""
        _refuse("cannot be read")

    def private_bytes(self, *_: object) -> Never:
        """Refused."""
        _refuse("cannot be read")

    def __copy__(self) -> "TokenKey":
        return self

    def __deepcopy__(self, memo: object) -> "TokenKey":
        return self


@dataclass(frozen=True, slots=True)
class TokenEd25519:
    """A key that signs and cannot be read: its public half, and how to sign with it."""

    public: bytes
    _sign: Callable[[bytes], bytes] = field(repr=False)

    def sign(self, message: bytes, /) -> bytes:
        """The Ed25519 signature."""
        return self._sign(message)


def _refuse(what: str) -> Never:
    raise TokenError(Code.TOKEN_FAILED, f"a key in a token {what}", "report this as a defect")
