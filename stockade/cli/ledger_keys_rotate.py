"""`stockade ledger rotate-keys`: new keys for the ledger, which the old ones hand over to."""

import sys

from stockade.cli import machine
from stockade.cli.options import Json, Yes
from stockade.cli.terminal import ask, note, say


def rotate_keys(yes: Yes = False, json_: Json = False) -> int:
    """Replace the keys that sign the ledger, by a receipt that the old ones sign and the new.

    Whoever has the first keys can follow it. Where the old keys may have been stolen, hand out
    the new `stockade ledger keys` to everybody who verifies.
    """
    from stockade.client import Client

    with Client.open() as client:
        if not yes and sys.stdin.isatty() and not ask("Replace the ledger's keys?"):
            note("nothing was done")
            return 1
        answer = client.rotate_ledger_keys()
    if json_:
        machine.emit({"entry": answer.receipt.sequence, "keys": answer.keys.decode()})
        return 0
    say(f"entry {answer.receipt.sequence} handed over to new keys, which sign from now on")
    note("`stockade ledger keys` has them, and how they followed: keep a copy elsewhere")
    return 0
