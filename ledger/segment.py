"""A stretch of an export, verified by itself: so that several processes can share the work.

Trusted to vouch for a stretch only if each entry in it is authentic and follows the one before it;
that it follows what comes before the stretch is seen where it is joined (`ledger.verify`). Where
anything is wrong it says no more than that: finding the first bad entry, and why, takes the
verifier. Raises nothing, whatever the bytes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from ledger.authentic import Inauthentic, Link, Reader, link_of, succession
from ledger.lineage import Lineage
from ledger.receipt import Receipt
from ledger.rotation import KIND as ROTATION


@dataclass(frozen=True, slots=True)
class Segment:
    """Entries without fault among themselves: the first, the last, and all digests."""

    first: Receipt
    last: Link
    digests: bytes = field(repr=False)

    @property
    def sequence(self) -> int:
        """The number of its first entry."""
        return self.first.sequence


def read_segment(lines: Iterable[bytes], key: Lineage) -> Segment | None:
    """The segment that these lines are; None if something is wrong with it, or there is none."""
    reader, digests = Reader(key), bytearray()
    first: Receipt | None = None
    last: Link | None = None
    for raw in lines:
        try:
            line = reader.authentic(raw)
        except Inauthentic:
            return None
        receipt, rotation = line.receipt, key.rotation_at(line.receipt.sequence)
        # Keys that are not known yet are for the verifier to take up.
        if (receipt.kind == ROTATION) != (rotation is not None):
            return None
        if rotation is not None and rotation.digest != line.entry.digest:
            return None
        if last is None:
            first = receipt
        elif receipt.sequence != last.sequence + 1 or succession(receipt, last):
            return None
        last = link_of(line)
        digests += line.entry.digest
    return None if first is None or last is None else Segment(first, last, bytes(digests))
