"""The pairing code, and the proof that a device knows it.

Pure, and shared by the daemon (which makes codes and checks proofs) and the client. A code carries
where to connect, the fingerprint of the one certificate to accept there, and 128 random bits. The
proof is bound to that certificate and to the device's public key: relayed to another listener, or
for another key, it is worthless. Protocol and threats: docs/pairing.md.
"""

import base64
import hashlib
import hmac
from dataclasses import dataclass

from stockade.canonical import tagged_digest

PREFIX = "stockade-pair-1:"
PROOF_TAG = b"stockade/pairing-proof/v1"
SERVER_NAME = "pairing.stockade"

SECRET_BYTES = 16
FINGERPRINT_BYTES = 32
CHECK_BYTES = 4
MAX_ADDRESS_BYTES = 255


class PairingCodeError(ValueError):
    """This text is not a pairing code, or not all of one."""


@dataclass(frozen=True, slots=True)
class PairingCode:
    """A one-time code. `str()` never shows it; `text()` does, for the person who carries it."""

    address: str
    certificate_fingerprint: bytes
    secret: bytes

    def __repr__(self) -> str:
        return f"PairingCode({self.address}, ...)"

    __str__ = __repr__

    @property
    def invitation_id(self) -> str:
        """Names the invitation without telling the secret."""
        return tagged_digest(b"stockade/invitation-id/v1", self.secret)[:8].hex()

    def text(self) -> str:
        """The code as a person copies it: one word, no case, no look-alike letters lost."""
        body = self.certificate_fingerprint + self.secret + self.address.encode()
        check = hashlib.sha256(body).digest()[:CHECK_BYTES]
        return PREFIX + base64.b32encode(check + body).decode().rstrip("=").lower()

    def proof(self, spki_fingerprint: bytes) -> bytes:
        """HMAC that shows knowledge of the secret to this listener for this public key only."""
        message = tagged_digest(PROOF_TAG, self.certificate_fingerprint, spki_fingerprint)
        return hmac.new(self.secret, message, hashlib.sha256).digest()


def parse_pairing_code(text: str) -> PairingCode:
    """A typed or pasted code; white space and case do not matter. Raises `PairingCodeError`."""
    compact = "".join(text.split()).lower()
    if not compact.startswith(PREFIX):
        raise PairingCodeError(f"a pairing code begins with {PREFIX!r}")
    digits = compact[len(PREFIX) :].upper()
    try:
        data = base64.b32decode(digits + "=" * (-len(digits) % 8))
    except ValueError:
        raise PairingCodeError("the pairing code is incomplete or mistyped") from None
    check, body = data[:CHECK_BYTES], data[CHECK_BYTES:]
    fixed = FINGERPRINT_BYTES + SECRET_BYTES
    if hashlib.sha256(body).digest()[:CHECK_BYTES] != check or not (
        fixed < len(body) <= fixed + MAX_ADDRESS_BYTES
    ):
        raise PairingCodeError("the pairing code is incomplete or mistyped")
    try:
        address = body[fixed:].decode("ascii")
    except UnicodeDecodeError:
        raise PairingCodeError("the pairing code's address is not text") from None
    return PairingCode(address, body[:FINGERPRINT_BYTES], body[FINGERPRINT_BYTES:fixed])
