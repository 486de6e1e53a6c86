"""The offline verifier: reads an export from the first entry on and names the first bad one.

Trusted to accept a ledger only if every entry is there, unchanged, in order and signed, and (with
a checkpoint) if it is the one that was vouched for. Needs the export, the public keys and, better,
a checkpoint obtained elsewhere than the export; without one a cut-off tail cannot be seen, and
`Verified.covered` is 0. Needs no daemon, network, clock or file, and constant memory.

It stops at the first bad entry: what follows one cannot be trusted to mean anything. Raises
BadEntry, and nothing else whatever the bytes.

What a fault means: the checks run in the order of `Fault`, so an entry is only ever called
MISSING, REORDERED, DUPLICATE, INSERTED or FORKED on the word of an entry that is authentic.
Keys are followed from those it is given, or from a lineage that was pinned, by rotations alone that
both the old keys and the new have signed.

A holder of the signing key can write a false history that is consistent; checkpoints kept
elsewhere are what shows it (FORKED). See also `checkpoint.check_advance` (ROLLED_BACK).
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from ledger.authentic import Inauthentic, Link, Reader, link_of, succession
from ledger.chain import Head
from ledger.checkpoint import Checkpoint
from ledger.errors import BadEntry, Fault, RotationError
from ledger.export import Line
from ledger.keys import PublicKeys
from ledger.lineage import Lineage
from ledger.merkle import HASH_SIZE, CompactRange
from ledger.receipt import parse_time
from ledger.rotation import KIND as ROTATION
from ledger.segment import Segment

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
    keys: Lineage
    """The keys, and how they were rotated."""


def verify(
    lines: Iterable[bytes], key: PublicKeys | Lineage, checkpoint: Checkpoint | None = None
) -> Verified:
    """Verify an export from its first entry; raise BadEntry for the first bad one."""
    verification = Verification(key, () if checkpoint is None else (checkpoint,))
    verification.read(lines)
    return verification.end()


class Verification:
    """One pass over one export: `read` it, or `join` segments of it, then `end`."""

    def __init__(
        self,
        key: PublicKeys | Lineage,
        checkpoints: Sequence[Checkpoint] = (),
        seen: Mapping[int, int] | None = None,
    ) -> None:
        """`seen`: when a witness saw the ledger at a size, in seconds: a cut, or worse."""
        self._seen = dict(seen or {})
        self._lineage = key if isinstance(key, Lineage) else Lineage(key)
        self._reader = Reader(self._lineage)
        self._roots = {item.size: item.root for item in checkpoints}
        self._chain = key.chain
        self._last: Link | None = None
        self._tree = CompactRange()
        self._recent: deque[bytes] = deque(maxlen=_REMEMBERED)
        self._line = 0
        for item in checkpoints:
            if item.chain != key.chain:
                raise self._bad(Fault.OTHER_CHAIN, "the checkpoint is of another chain")
            if self._roots[item.size] != item.root:
                raise self._bad(Fault.FORKED, f"two checkpoints of {item.size} entries differ")

    def read(self, lines: Iterable[bytes]) -> None:
        """The lines that follow; BadEntry for the first bad one."""
        rest = iter(lines)
        for raw in rest:
            self._line += 1
            line = self._authentic(raw)
            self._follows(line, rest)
            self._rotate(line)
            self._grow(line.receipt.sequence, line.entry.digest)
            self._last = link_of(line)

    def join(self, segment: Segment) -> bool:
        """Take lines that were read elsewhere; False, and nothing taken, if they do not follow."""
        if segment.sequence != self._tree.size + 1 or succession(segment.first, self._last):
            return False
        digests = [
            segment.digests[at : at + HASH_SIZE] for at in range(0, len(segment.digests), HASH_SIZE)
        ]
        for number, digest in enumerate(digests, segment.sequence):
            self._line += 1
            self._grow(number, digest)
        self._last = segment.last
        return True

    def end(self) -> Verified:
        """There are no more lines: what was verified; BadEntry if a checkpoint says otherwise."""
        count, vouched = self._tree.size, max(self._roots, default=0)
        if count < vouched:
            raise self._short(count, vouched)
        last = self._last
        head = None if last is None else Head(self._chain, *last)
        return Verified(count, head, self._tree.root(), vouched, self._lineage)

    def _short(self, count: int, vouched: int) -> BadEntry:
        """Fewer entries than there were: cut off, or gone on with from where they were fewer."""
        seen = self._seen.get(vouched)
        # A second is as exact as a witness is.
        if self._last and seen is not None and parse_time(self._last.time) >= 1000 * (seen + 1):
            return self._bad(
                Fault.ROLLED_BACK,
                f"a witness saw {vouched} entries before the last of these {count} was made",
            )
        return self._bad(
            Fault.TRUNCATED,
            f"the ledger ends after {count} entries; its checkpoint vouches for {vouched}",
        )

    def _authentic(self, raw: bytes) -> Line:
        try:
            return self._reader.authentic(raw)
        except Inauthentic as error:
            raise self._bad(error.fault, error.message, error.sequence) from error

    def _follows(self, line: Line, rest: Iterator[bytes]) -> None:
        """Refuse an authentic entry that does not come next."""
        receipt, due = line.receipt, self._tree.size + 1
        if receipt.sequence > due:
            self._explain_gap(receipt.sequence, due, rest)
        if receipt.sequence < due:
            self._explain_past(receipt.sequence, line.entry.digest)
        found = succession(receipt, self._last)
        if found is not None:
            raise self._bad(*found)

    def _rotate(self, line: Line) -> None:
        """Take up the keys that an entry hands over to."""
        sequence = line.receipt.sequence
        pinned = self._lineage.rotation_at(sequence)
        if pinned is not None and pinned.digest != line.entry.digest:
            raise self._bad(
                Fault.FORKED, "the keys were rotated by another entry than this one", sequence
            )
        if line.receipt.kind != ROTATION or pinned is not None:
            return
        try:
            self._lineage = self._lineage.followed_by(line)
        except RotationError as error:
            raise self._bad(Fault.BAD_ROTATION, error.message, sequence) from error
        self._reader = Reader(self._lineage)

    def _grow(self, sequence: int, digest: bytes) -> None:
        self._tree.append(digest)
        self._recent.append(digest)
        size = self._tree.size
        if size in self._roots and self._roots[size] != self._tree.root():
            raise self._bad(
                Fault.FORKED,
                f"these {size} entries are not the ones its checkpoint vouches for",
                sequence,
            )

    def _explain_gap(self, sequence: int, due: int, rest: Iterator[bytes]) -> None:
        """Entry `due` is gone, or stands further on: read the rest once, keep nothing."""
        for raw in rest:
            try:
                later = self._reader.authentic(raw)
            except Inauthentic:
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
