"""Which keys signed what: the first keys of a ledger, and the rotations that followed.

As text a public key file (`ledger.keys`), and after it a line for each rotation: the entry of its
receipt, as an export has it. Without one it is the public key file that there always was. Each is
signed by the keys before it, so whoever has the first keys may take the lines from anybody; and
whoever pins the lines as well is not led to others by somebody who got hold of keys out of use.

Trusted to give keys only that those before them have handed over to. Raises KeyFileError and
RotationError.
"""

import io
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, NoReturn, Self

from ledger.authentic import Inauthentic, Reader
from ledger.errors import Fault, KeyFileError, RotationError
from ledger.export import Line, encode_line
from ledger.keys import PublicKeys, encode_public, name_of, parse_public
from ledger.receipt import parse_time
from ledger.rotation import KIND, keys_after

MAX_ROTATIONS: Final = 256
MAX_LINEAGE: Final = 4 * 1024 * 1024
_FIRST_LINES: Final = 2


class Rotation(NamedTuple):
    """A rotation: the number, digest and time of its receipt, its line, and the keys from then."""

    sequence: int
    digest: bytes
    time_ms: int
    line: bytes
    keys: PublicKeys


@dataclass(frozen=True, slots=True)
class Lineage:
    """The keys of one ledger, one after the other."""

    first: PublicKeys
    rotations: tuple[Rotation, ...] = field(default=(), repr=False)

    @property
    def chain(self) -> str:
        """The chain's id."""
        return self.first.chain

    @property
    def name(self) -> str:
        """What all of its keys go by in signature lines."""
        return name_of(self.chain)

    @property
    def current(self) -> PublicKeys:
        """The last ones."""
        return self.rotations[-1].keys if self.rotations else self.first

    def of(self, sequence: int) -> PublicKeys:
        """The keys that sign this entry, and the checkpoints of so many less one."""
        for rotation in reversed(self.rotations):
            if sequence > rotation.sequence:
                return rotation.keys
        return self.first

    def at(self, seconds: int) -> tuple[PublicKeys, ...]:
        """The keys that were in force in this second; two where they changed in it."""
        begins = (0, *(rotation.time_ms // 1000 for rotation in self.rotations))
        all_keys = (self.first, *(rotation.keys for rotation in self.rotations))
        ends = (*begins[1:], None)
        return tuple(
            keys
            for keys, begin, end in zip(all_keys, begins, ends, strict=True)
            if begin <= seconds and (end is None or seconds <= end)
        )

    def rotation_at(self, sequence: int) -> Rotation | None:
        """The rotation that is this entry."""
        return next((one for one in self.rotations if one.sequence == sequence), None)

    def followed_by(self, line: Line) -> Self:
        """With the rotation that an authentic entry is."""
        receipt = line.receipt
        if len(self.rotations) >= MAX_ROTATIONS:
            _refuse(f"a ledger's keys are rotated at most {MAX_ROTATIONS} times")
        if self.rotations and receipt.sequence <= self.rotations[-1].sequence:
            _refuse("it comes before the one before it")
        new = keys_after(receipt, self.current)
        if any(new.ed25519 == one.keys.ed25519 for one in self.rotations) or new == self.first:
            _refuse("the new keys were in force before")
        time_ms = parse_time(receipt.time)
        rotation = Rotation(
            receipt.sequence, line.entry.digest, time_ms, encode_line(line.entry), new
        )
        return type(self)(self.first, (*self.rotations, rotation))

    def extended(self, other: "Lineage") -> Self:
        """The longer of two, of which one has to begin with the other."""
        if other.first != self.first:
            raise KeyFileError("OTHER_KEYS", "these are the keys of another ledger")
        common = min(len(self.rotations), len(other.rotations))
        mine, others = ([one.digest for one in each.rotations[:common]] for each in (self, other))
        if mine != others:
            raise KeyFileError("OTHER_KEYS", "these keys were followed by others")
        longer = max(self.rotations, other.rotations, key=len)
        return type(self)(self.first, longer)


def lineage_of(first: PublicKeys, lines: Iterable[bytes]) -> Lineage:
    """The lineage from the first keys on by the entries of rotations."""
    lineage = Lineage(first)
    for raw in lines:
        try:
            line = Reader(lineage.current).authentic(raw)
        except Inauthentic as error:
            raise RotationError(error.fault, error.message) from error
        if line.receipt.kind != KIND:
            _refuse("an entry is no rotation of keys")
        lineage = lineage.followed_by(line)
    return lineage


def encode_lineage(lineage: Lineage) -> bytes:
    """As text."""
    return encode_public(lineage.first) + b"".join(one.line for one in lineage.rotations)


def parse_lineage(data: bytes) -> Lineage:
    """From text: a public key file, and what follows it."""
    if len(data) > MAX_LINEAGE:
        raise KeyFileError("MALFORMED", f"keys of more than {MAX_LINEAGE} bytes")
    lines = io.BytesIO(data).readlines()
    first = parse_public(b"".join(lines[:_FIRST_LINES]))
    lineage = lineage_of(first, lines[_FIRST_LINES:])
    if encode_lineage(lineage) != data:
        raise KeyFileError("MALFORMED", "not a public key file of this ledger")
    return lineage


def _refuse(message: str) -> NoReturn:
    raise RotationError(Fault.BAD_ROTATION, message)
