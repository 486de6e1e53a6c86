"""Which secrets that others keep were revoked here: what the ledger says, besides a row.

Nothing of such a secret is in the vault that could be erased, so a hand in the database could let a
revoked one be had again by taking the row away. The receipts stay: of each name there are as many
of its being reinstated as of its being revoked, or it is barred. Raises StoreFault.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from daemon.store import receipts
from daemon.store.commit import Tx
from daemon.store.reader import Reader
from vault.reference import SecretReference

REVOKED: Final = "secret.revoked"
REINSTATED: Final = "secret.reinstated"


@dataclass(frozen=True, slots=True)
class Barred:
    """See the module."""

    reader: Reader
    chain: str

    async def of(self, references: Sequence[SecretReference]) -> frozenset[SecretReference]:
        """Those of them that the ledger says are revoked."""
        if not references:
            return frozenset()
        counted = await self.reader.read(
            lambda c: [
                [
                    receipts.count(c, self.chain, name_of(one), kind)
                    for kind in (REVOKED, REINSTATED)
                ]
                for one in references
            ]
        )
        pairs = zip(references, counted, strict=True)
        return frozenset(one for one, (revoked, reinstated) in pairs if revoked > reinstated)

    def says(self, tx: Tx, reference: SecretReference) -> bool:
        """The same of one, inside a transaction; of a moment ago it does not know yet."""
        revoked, reinstated = (
            receipts.count(tx.connection, self.chain, name_of(reference), kind)
            for kind in (REVOKED, REINSTATED)
        )
        return revoked > reinstated


def name_of(reference: SecretReference) -> str:
    """What its receipts are found by."""
    return f"secret/{reference.scope}/{reference.name}"
