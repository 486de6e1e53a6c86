"""What may leave the ledger: one root, a few leaves, each with a code, a message and a fix.

Trusted to say what is wrong without repeating what it read: a message holds numbers, field names
and digests, never text from an untrusted line (which could carry a secret or terminal escapes).
"""

from enum import StrEnum


class LedgerError(Exception):
    """The root of this package's errors: `code` is the reason, `fix` says what to do."""

    default_fix = "report this: the ledger was used in a way it does not allow"

    def __init__(self, code: str, message: str, fix: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.fix = self.default_fix if fix is None else fix

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"


class ReceiptError(LedgerError):
    """What was offered is no receipt: a wrong type, a float, a header field out of its form."""

    default_fix = "record only str, int within 2^53, bool, None, list and mapping with str keys"


class ChainError(LedgerError):
    """The chain cannot continue from here: a head that is not its own, a rewind forwards."""

    default_fix = "load the head again from the store and start the chain from it"


class KeyFileError(LedgerError):
    """A key file is not what it should be. Never holds key material."""

    default_fix = "restore the ledger's key file from a backup; never edit it"


class LineError(LedgerError):
    """A line of an export is not an entry in its one allowed form."""

    default_fix = "export the ledger again and transfer the file as binary"


class CheckpointError(LedgerError):
    """A checkpoint is malformed, not signed by both keys, or does not follow the one before."""

    default_fix = (
        "do not trust this checkpoint; fetch it again, and compare with one kept elsewhere"
    )


class RotationError(LedgerError):
    """A receipt that is to change the ledger's keys is not signed by the old ones and the new."""

    default_fix = "do not trust the keys it names; compare with keys that were obtained elsewhere"


class ProofError(LedgerError):
    """A Merkle proof does not prove what it was offered for, or was asked for nonsense."""

    default_fix = "do not trust this proof; ask for it again"


class EvidenceError(LedgerError):
    """Evidence does not show what it was offered for."""

    default_fix = "do not rely on it; ask for it again, and for an export of the whole ledger"


class Fault(StrEnum):
    """Why an entry is bad; frozen: scripts match on these words."""

    MALFORMED = "MALFORMED"
    """No entry: not JSON, a field missing, unknown, of the wrong type or out of its form."""
    OVERSIZE = "OVERSIZE"
    """Longer than any line of an export may be."""
    NOT_CANONICAL = "NOT_CANONICAL"
    """Right values, wrong bytes: white space, key order, duplicate keys, escapes, base64."""
    VERSION = "VERSION"
    """A receipt version this verifier does not know; it does not guess."""
    EDITED = "EDITED"
    """The receipt does not have the digest that was recorded with it."""
    OTHER_CHAIN = "OTHER_CHAIN"
    """An intact receipt of another chain."""
    BAD_SIGNATURE = "BAD_SIGNATURE"
    """Not signed by this chain's key."""
    BAD_ROTATION = "BAD_ROTATION"
    """Says that the keys change, and is not signed by both schemes of the old keys and the new."""
    MISSING = "MISSING"
    """One or more entries before this one are gone."""
    REORDERED = "REORDERED"
    """Stands before an entry that precedes it, which comes later."""
    DUPLICATE = "DUPLICATE"
    """The same entry was already seen."""
    INSERTED = "INSERTED"
    """An entry whose sequence number is long past."""
    FORKED = "FORKED"
    """A second history: it does not follow the entry before it, or the signed root is another."""
    CLOCK_BACK = "CLOCK_BACK"
    """Its time lies before that of the entry it follows."""
    TRUNCATED = "TRUNCATED"
    """The ledger ends before the size its checkpoint vouches for."""
    ROLLED_BACK = "ROLLED_BACK"
    """It goes on from where it was shorter: by a later checkpoint, or by what a witness saw."""


class BadEntry(LedgerError):  # noqa: N818 - the name says what was found, and is the contract
    """The first bad entry of an export.

    `line` counts from 1 (the number of lines read, where the fault is the end of the file);
    `sequence` is the entry that is bad or missing or, where a line cannot be read, the one that
    should stand there.
    """

    default_fix = (
        "treat the ledger as altered from this entry on; compare with another export or checkpoint"
    )

    def __init__(self, line: int, sequence: int, code: Fault, message: str) -> None:
        super().__init__(code, message)
        self.line = line
        self.sequence = sequence

    def __str__(self) -> str:
        return f"line {self.line}, entry {self.sequence}: {self.code}: {self.message}"
