"""Where a key in a token is: a PKCS #11 URI (RFC 7512), in one spelling.

Trusted to name exactly one key: token, label and id, each required, nothing else. It is no secret;
a PIN has no place in it. Raises `TokenError` (MALFORMED).
"""

import re
from dataclasses import dataclass
from typing import Final, Self, final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from identity.errors import Code, TokenError

SCHEME: Final = b"pkcs11:"
_FORM: Final = re.compile(
    r"pkcs11:token=([A-Za-z0-9._~%-]+);object=([A-Za-z0-9._~%-]+);id=((?:%[0-9A-F]{2})+);type=private\n?"
)


@final
@dataclass(frozen=True, slots=True)
class KeyUri:
    """Which key: the token's label, the object's label, the object's id."""

    token: str
    label: str
    id: bytes

    @classmethod
    def parse(cls, text: bytes) -> Self:
        """Read one, as `encode` writes it."""
        try:
            found = _FORM.fullmatch(text.decode("ascii"))
            if found is not None:
                token, label = (unquote_to_bytes(part).decode() for part in found.groups()[:2])
                return cls(token, label, unquote_to_bytes(found[3]))
        except UnicodeDecodeError:
            pass
        raise TokenError(
            Code.MALFORMED,
            "the key file begins like a PKCS #11 URI and is none of Stockade's",
            "restore the file from a backup",
        )

    def encode(self) -> bytes:
        """Write it, with a line's end."""
        token, label = (
            quote_from_bytes(part.encode(), safe="") for part in (self.token, self.label)
        )
        own = "".join(f"%{byte:02X}" for byte in self.id)
        return f"pkcs11:token={token};object={label};id={own};type=private\n".encode()
