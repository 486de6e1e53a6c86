"""The one error tree of this package.

`VaultError` is its root and the only exception that leaves the package for any input bytes. The
code is for programs, the message says what happened, `fix` says what to do. No message contains a
secret, a key, or text that was passed where a secret may have been passed by mistake.
"""

from enum import StrEnum, unique


@unique
class Code(StrEnum):
    """Every reason this package has for saying no."""

    REFERENCE_MALFORMED = "REFERENCE_MALFORMED"

    VALUE_EMPTY = "VALUE_EMPTY"
    VALUE_TOO_LARGE = "VALUE_TOO_LARGE"
    VERSION_OUT_OF_RANGE = "VERSION_OUT_OF_RANGE"
    SECRET_WIPED = "SECRET_WIPED"  # noqa: S105 - a reason, not a password
    SECRET_STAYS = "SECRET_STAYS"  # noqa: S105 - a reason, not a password

    SEALED_MALFORMED = "SEALED_MALFORMED"
    SEALED_FORMAT_UNKNOWN = "SEALED_FORMAT_UNKNOWN"
    SEALED_TAMPERED = "SEALED_TAMPERED"
    SUBMISSION_UNOPENED = "SUBMISSION_UNOPENED"

    ROOT_ABSENT = "ROOT_ABSENT"
    ROOT_EXISTS = "ROOT_EXISTS"
    ROOT_LOCKED = "ROOT_LOCKED"
    ROOT_MISMATCH = "ROOT_MISMATCH"
    ROOT_MALFORMED = "ROOT_MALFORMED"
    ROOT_EXPOSED = "ROOT_EXPOSED"
    ROOT_WRONG_OWNER = "ROOT_WRONG_OWNER"
    ROOT_NOT_REGULAR = "ROOT_NOT_REGULAR"
    ROOT_UNUSABLE = "ROOT_UNUSABLE"
    ROOT_KEPT_ELSEWHERE = "ROOT_KEPT_ELSEWHERE"

    PASSPHRASE_WRONG = "PASSPHRASE_WRONG"  # noqa: S105 - a reason, not a password
    PASSPHRASE_LENGTH = "PASSPHRASE_LENGTH"  # noqa: S105 - a reason, not a password
    PASSPHRASE_COST = "PASSPHRASE_COST"  # noqa: S105 - a reason, not a password

    TOKEN_UNUSABLE = "TOKEN_UNUSABLE"  # noqa: S105 - a reason, not a password
    TOKEN_FAILED = "TOKEN_FAILED"  # noqa: S105 - a reason, not a password

    BACKUP_DAMAGED = "BACKUP_DAMAGED"
    SOURCE_MALFORMED = "SOURCE_MALFORMED"

    KEYCHAIN_REFUSED = "KEYCHAIN_REFUSED"
    KEYCHAIN_SILENT = "KEYCHAIN_SILENT"
    KEYCHAIN_FAILED = "KEYCHAIN_FAILED"

    REDACTOR_FINISHED = "REDACTOR_FINISHED"
    REDACTOR_UNUSABLE = "REDACTOR_UNUSABLE"


class VaultError(Exception):
    """The vault refused; `code` says which rule refused."""

    def __init__(self, code: Code, message: str, fix: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.fix = fix


class ReferenceFormError(VaultError):
    """A secret reference, scope or name is not in its one form."""


class SecretError(VaultError):
    """A secret value was used in a way that is not allowed, or any more."""


class SealedError(VaultError):
    """A value cannot be sealed, or sealed bytes cannot be opened."""


class RootError(VaultError):
    """The root key cannot be had, or is not the one that is needed."""


class RedactorError(VaultError):
    """A redactor was used after its end."""


class BackupError(VaultError):
    """What should be a backup cannot be read as one."""


class SourceError(VaultError):
    """What another source of secrets holds cannot be read."""
