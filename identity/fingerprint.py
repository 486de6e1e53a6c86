"""Fingerprints of public keys, and the words two people compare them by.

Trusted to give both ends of a pairing the same short text for the same key and different texts
for different keys. Pure: standard library only, so that a client can show the same words.

How many words. At pairing an attacker who sits between device and daemon needs a key of their
own whose words equal those of the honest device's key: a second preimage, one fixed target, and
each trial is one point addition and one hash, about 10^9 a second on one graphics card. Six words
(48 bits) fall in about three days on one card, or within the ten minutes of a pairing on a few
hundred: too weak. Eight words (64 bits) take one card about 580 years, or thirty million cards ten
minutes, and are still read aloud in one breath. Collisions (2^32 work) do not help: both keys of a
colliding pair would be the attacker's, and the device under comparison shows its own. The words
are the second fence in any case; the pairing code's 128 bits are the first.
"""

import hashlib
import re
from typing import Final, Self, final

from identity.errors import Code, NamingError, shown
from identity.words import WORDS

WORD_COUNT: Final = 8  # 8 words of 8 bits: 64 bits
_HEX = re.compile(r"[0-9a-f]{64}")


@final
class Fingerprint(str):
    """SHA-256 of a DER SubjectPublicKeyInfo, as 64 lower-case hexadecimal digits."""

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Refuse anything but the one form."""
        if not _HEX.fullmatch(text):
            raise NamingError(
                Code.FINGERPRINT_MALFORMED,
                f"{shown(text)} is not a key fingerprint",
                "use 64 lower-case hexadecimal digits",
            )
        return super().__new__(cls, text)


def spki_fingerprint(spki_der: bytes) -> Fingerprint:
    """Hash a public key in its DER form (RFC 5280 4.1, SubjectPublicKeyInfo).

    The key and not the certificate is hashed, so it outlives renewals.
    """
    return Fingerprint(hashlib.sha256(spki_der).hexdigest())


def words(fingerprint: Fingerprint) -> str:
    """Render the first 64 bits of a fingerprint as eight words joined by hyphens."""
    return "-".join(WORDS[byte] for byte in bytes.fromhex(fingerprint)[:WORD_COUNT])
