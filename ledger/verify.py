"""The offline verifier: reads an export from the first entry on and names the first bad one.

Trusted to accept a ledger only if every entry is there, unchanged, in order and signed, and (with
a checkpoint) if it is the one that was vouched for. Needs the export, the public keys and, better,
a checkpoint obtained elsewhere than the export; without one a cut-off tail cannot be seen, and
`Verified.covered` is 0. Needs no daemon, network, clock or file, and constant memory.

It stops at the first bad entry: what follows one cannot be trusted to mean anything. Raises
BadEntry, and nothing else whatever the bytes.

What a fault means: the checks run in the order of `Fault`, so an entry is only ever called
MISSING, REORDERED, DUPLICATE, INSERTED or FORKED on the word of an entry that is authentic.
A holder of the signing key can write a false history that is consistent; checkpoints kept
elsewhere are what shows it (FORKED). See also `checkpoint.check_advance` (ROLLED_BACK).
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import nacl.exceptions
import nacl.signing

from ledger.chain import Head
from ledger.checkpoint import Checkpoint
from ledger.errors import BadEntry, Fault, LineError
from ledger.export import Line, parse_line
from ledger.keys import PublicKeys
from ledger.merkle import CompactRange
from ledger.receipt import NO_PREVIOUS, digest_of, message_of

_REMEMBERED: Final = 4096
"""How many digests are kept, to tell an entry seen before from a second one of its number."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A ledger without fault: its length, its head, its root, and what a checkpoint covers.

    Entries beyond `covered` are signed and chained, but whether more followed them is not known.
    """

    count: int
    head: Head | None
    root: bytes
    covered: int


def verify(
    lines: Iterable[bytes], key: PublicKeys, checkpoint: Checkpoint | None = None
) -> Verified:
    """Verify an export from its first entry; raise BadEntry for the first bad one."""
    return _Verifier(iter(lines), key, checkpoint).run()


class _Verifier:
    """One pass over one export."""

    def __init__(
        self, lines: Iterator[bytes], key: PublicKeys, checkpoint: Checkpoint | None
    ) -> None:
        self._lines = lines
        self._chain = key.chain
        self._key = nacl.signing.VerifyKey(key.ed25519)
        self._checkpoint = checkpoint
        self._head: Head | None = None
        self._tree = CompactRange()
        self._recent: deque[bytes] = deque(maxlen=_REMEMBERED)
        self._line = 0

    def run(self) -> Verified:
        checkpoint = self._checkpoint
        if checkpoint is not None and checkpoint.chain != self._chain:
            raise self._bad(Fault.OTHER_CHAIN, "the checkpoint is of another chain")
        for raw in self._lines:
            self._line += 1
            line = self._authentic(raw)
            self._follows(line)
            self._accept(line)
        count = self._tree.size
        if checkpoint is not None and count < checkpoint.size:
            raise self._bad(
                Fault.TRUNCATED,
                f"the ledger ends after {count} entries; its checkpoint vouches for "
                f"{checkpoint.size}",
            )
        covered = 0 if checkpoint is None else checkpoint.size
        return Verified(count, self._head, self._tree.root(), covered)

    def _authentic(self, raw: bytes) -> Line:
        """The line as an entry of this chain that nobody changed; its place is not looked at."""
        try:
            line = parse_line(raw)
        except LineError as error:
            raise self._bad(Fault(error.code), error.message) from error
        receipt, entry = line.receipt, line.entry
        if digest_of(entry.canonical) != entry.digest:
            raise self._bad(
                Fault.EDITED,
                "the receipt does not have the digest recorded with it",
                receipt.sequence,
            )
        if receipt.chain != self._chain:
            raise self._bad(Fault.OTHER_CHAIN, "the receipt is of another chain", receipt.sequence)
        if not self._signed(entry.digest, entry.signature):
            raise self._bad(Fault.BAD_SIGNATURE, "not signed by this chain's key", receipt.sequence)
        return line

    def _signed(self, digest: bytes, signature: bytes) -> bool:
        try:
            self._key.verify(message_of(digest), signature)
        except nacl.exceptions.CryptoError:
            return False
        return True

    def _follows(self, line: Line) -> None:
        """Refuse an authentic entry that does not come next."""
        receipt, due = line.receipt, self._tree.size + 1
        if receipt.sequence > due:
            self._explain_gap(receipt.sequence, due)
        if receipt.sequence < due:
            self._explain_past(receipt.sequence, line.entry.digest)
        if receipt.prev != (NO_PREVIOUS if self._head is None else self._head.digest):
            raise self._bad(Fault.FORKED, "it follows another entry than the one before it")
        before = receipt.time if self._head is None else self._head.time
        # The fixed form of a time makes text order time order.
        if receipt.time < before:
            raise self._bad(Fault.CLOCK_BACK, "its time lies before that of the entry before it")
        if receipt.clock_behind_ms is not None and (self._head is None or receipt.time != before):
            raise self._bad(
                Fault.CLOCK_BACK, "it says the clock was behind, but has not the time before it"
            )

    def _accept(self, line: Line) -> None:
        receipt, digest = line.receipt, line.entry.digest
        self._tree.append(digest)
        checkpoint = self._checkpoint
        if (
            checkpoint is not None
            and checkpoint.size == self._tree.size
            and checkpoint.root != self._tree.root()
        ):
            raise self._bad(
                Fault.FORKED,
                f"these {checkpoint.size} entries are not the ones its checkpoint vouches for",
                receipt.sequence,
            )
        self._head = Head(receipt.chain, receipt.sequence, digest, receipt.time)
        self._recent.append(digest)

    def _explain_gap(self, sequence: int, due: int) -> None:
        """Entry `due` is gone, or stands further on: read the rest once, keep nothing."""
        for raw in self._lines:
            try:
                later = self._authentic(raw)
            except BadEntry:
                continue
            if later.receipt.sequence == due:
                raise self._bad(
                    Fault.REORDERED, f"stands before entry {due}, which comes later", sequence
                )
        gone = "is missing" if sequence == due + 1 else f"to {sequence - 1} are missing"
        raise self._bad(Fault.MISSING, f"entry {due} {gone} before entry {sequence}")

    def _explain_past(self, sequence: int, digest: bytes) -> None:
        """An entry with this number was accepted already: this one, or another."""
        age = self._tree.size - sequence  # 0 for the entry just before
        if age >= len(self._recent):
            raise self._bad(Fault.INSERTED, f"comes {age + 1} entries after its place", sequence)
        if self._recent[-1 - age] == digest:
            raise self._bad(Fault.DUPLICATE, "the same entry was already seen", sequence)
        raise self._bad(
            Fault.FORKED, "another entry with this number was signed and seen before", sequence
        )

    def _bad(self, fault: Fault, message: str, sequence: int | None = None) -> BadEntry:
        due = self._tree.size + 1
        return BadEntry(self._line, due if sequence is None else sequence, fault, message)
