"""The keys of this daemon's ledger: what signs now, and which signed what.

One object for all who sign or verify, so that a rotation reaches each of them at once. Raises
`StartError`, and what `daemon.ledger.key_files` does.
"""

from typing import Self

from daemon.errors import StartError
from daemon.ledger.key_files import LedgerKeyFiles
from daemon.store import rotations
from daemon.store.reader import Reader
from ledger.errors import LedgerError
from ledger.export import parse_line
from ledger.keys import PublicKeys, Signing
from ledger.lineage import Lineage, encode_lineage, lineage_of
from ledger.rotation import keys_before


class LedgerKeys:
    """See the module."""

    def __init__(self, signing: Signing, lineage: Lineage) -> None:
        self._signing = signing
        self._lineage = lineage

    @classmethod
    async def open(cls, files: LedgerKeyFiles, chain: str, reader: Reader) -> Self:
        """Those in force, as the ledger says; finishes a rotation that was recorded."""
        lines = await reader.read(lambda c: rotations.lines(c, chain))
        lineage = followed(lines)
        signing = files.open(None if lineage is None else lineage.current)
        return cls(signing, lineage or Lineage(signing.public()))

    @property
    def chain(self) -> str:
        """The chain's id."""
        return self._signing.chain

    @property
    def signing(self) -> Signing:
        """What signs."""
        return self._signing

    @property
    def lineage(self) -> Lineage:
        """The first keys, and those that followed."""
        return self._lineage

    @property
    def text(self) -> bytes:
        """The public key file."""
        return encode_lineage(self._lineage)

    def of(self, sequence: int) -> PublicKeys:
        """See `ledger.keys.Keys`."""
        return self._lineage.of(sequence)

    def replace(self, signing: Signing, lineage: Lineage) -> None:
        """The keys were rotated."""
        self._signing, self._lineage = signing, lineage


def followed(lines: list[bytes]) -> Lineage | None:
    """The lineage by the receipts of rotations; None where there was none."""
    if not lines:
        return None
    try:
        return lineage_of(keys_before(parse_line(lines[0]).receipt), lines)
    except LedgerError as error:
        raise StartError(
            f"the ledger's keys cannot be followed: {error.message}",
            code="LEDGER_FORKED",
            fix="verify an export with the keys you kept elsewhere; then restore a backup",
        ) from None
