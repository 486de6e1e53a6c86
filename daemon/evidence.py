"""What the ledger says, against what the rest of the database says.

A receipt is signed; a row beside it is not. Trusted to give a receipt's body only if its digest and
signature are right, so that a row that was edited by hand is found out. Pure; raises nothing.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from ledger.chain import Entry
from ledger.keys import Keys
from ledger.receipt import digest_of, message_of


def attested(entry: Entry, keys: Keys) -> Mapping[str, Any] | None:
    """The body of a receipt of this ledger; None if it is not what was signed."""
    if digest_of(entry.canonical) != entry.digest:
        return None
    if not keys.of(entry.sequence).verifies_ed25519(message_of(entry.digest), entry.signature):
        return None
    fields = orjson.loads(entry.canonical)
    stated = (fields["chain"], fields["seq"], fields["kind"], fields["time"])
    if stated != (keys.chain, entry.sequence, entry.kind, entry.time):
        return None
    body: Mapping[str, Any] = fields["body"]
    return body
