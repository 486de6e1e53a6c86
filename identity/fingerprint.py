"""Fingerprints of public keys, and the words two people compare them by.

Trusted to give a key the same fingerprint whatever certificate carries it. Pure: standard library
only. The words people compare are in `stockade.words`, for both ends.
"""

import hashlib
import re
from typing import Self, final

from identity.errors import Code, NamingError, shown

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
