"""The one error tree of this package.

`IdentityError` is its root and the only exception that leaves the package for any input bytes.
The code is for programs, the message says what happened, `fix` says what to do. No message
contains key material; untrusted text is shown escaped and cut short.
"""

from enum import StrEnum, unique


@unique
class Code(StrEnum):
    """Every reason this package has for saying no."""

    NAME_MALFORMED = "NAME_MALFORMED"
    FINGERPRINT_MALFORMED = "FINGERPRINT_MALFORMED"
    TIME_WITHOUT_ZONE = "TIME_WITHOUT_ZONE"

    MALFORMED = "MALFORMED"
    WEAK_KEY = "WEAK_KEY"
    CSR_SIGNATURE_INVALID = "CSR_SIGNATURE_INVALID"

    CERT_EXPIRED = "CERT_EXPIRED"
    CERT_NOT_YET_VALID = "CERT_NOT_YET_VALID"
    CERT_NOT_CLIENT = "CERT_NOT_CLIENT"
    CERT_IS_CA = "CERT_IS_CA"
    SAN_MISSING = "SAN_MISSING"
    SAN_AMBIGUOUS = "SAN_AMBIGUOUS"
    SAN_MALFORMED = "SAN_MALFORMED"
    SAN_FOREIGN_DOMAIN = "SAN_FOREIGN_DOMAIN"

    AUTHORITY_MALFORMED = "AUTHORITY_MALFORMED"
    AUTHORITY_KEY_MISMATCH = "AUTHORITY_KEY_MISMATCH"
    AUTHORITY_EXPIRED = "AUTHORITY_EXPIRED"
    LIFETIME_OUT_OF_RANGE = "LIFETIME_OUT_OF_RANGE"
    SERVER_NAME_REFUSED = "SERVER_NAME_REFUSED"

    TOKEN_SUPPORT_MISSING = "TOKEN_SUPPORT_MISSING"
    TOKEN_NOT_CONFIGURED = "TOKEN_NOT_CONFIGURED"
    TOKEN_MODULE_UNUSABLE = "TOKEN_MODULE_UNUSABLE"
    TOKEN_ABSENT = "TOKEN_ABSENT"
    TOKEN_PIN_REFUSED = "TOKEN_PIN_REFUSED"
    TOKEN_KEY_ABSENT = "TOKEN_KEY_ABSENT"
    TOKEN_KEY_UNFIT = "TOKEN_KEY_UNFIT"
    TOKEN_FAILED = "TOKEN_FAILED"

    FILE_ABSENT = "FILE_ABSENT"
    FILE_EXISTS = "FILE_EXISTS"
    FILE_NOT_REGULAR = "FILE_NOT_REGULAR"
    FILE_WRONG_OWNER = "FILE_WRONG_OWNER"
    FILE_EXPOSED = "FILE_EXPOSED"
    FILE_TOO_LARGE = "FILE_TOO_LARGE"
    FILE_UNUSABLE = "FILE_UNUSABLE"
    CREDENTIAL_UNUSABLE = "CREDENTIAL_UNUSABLE"


class IdentityError(Exception):
    """Something about an identity was refused; `code` says which rule refused it."""

    def __init__(self, code: Code, message: str, fix: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.fix = fix


class NamingError(IdentityError):
    """A trust domain, device id, agent name, SPIFFE id or fingerprint is not in its one form."""


class RequestError(IdentityError):
    """A signing request, public key, lifetime or server name will not be certified."""


class PeerError(IdentityError):
    """A peer's certificate names no principal here."""


class AuthorityError(IdentityError):
    """The authority's own key or certificate cannot be used."""


class TokenError(IdentityError):
    """A PKCS #11 token, or a key in it, cannot be used."""


class KeyFileError(IdentityError):
    """A private file cannot be written or must not be trusted."""


def shown(text: str) -> str:
    """Untrusted text as it may appear in a message: escaped, at most 64 characters of it."""
    return ascii(text[:64]) + ("..." if len(text) > 64 else "")
