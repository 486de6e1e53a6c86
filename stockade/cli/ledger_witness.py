"""`stockade ledger countersign`: take this ledger's checkpoint to a witness, and bring it back.

The daemon dials nobody: this command speaks with both, as a device that is paired with each. What
comes back is verified with keys that neither was asked for. Raises `StockadeError`, OSError.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli import machine
from stockade.cli.ledger_verify import followed, read_keys
from stockade.cli.options import Json
from stockade.cli.terminal import many, say
from stockade.errors import StockadeError
from stockade.files import check_replaceable

if TYPE_CHECKING:
    from ledger.lineage import Lineage
    from stockade.client import Client


def countersign(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Replaced whole, or not at all.")],
    witness: Annotated[
        Path, typer.Option("--witness", metavar="HOME", help="A home paired with the witness.")
    ],
    key: Annotated[Path, typer.Option("--key", help="This ledger's public keys.")],
    witness_key: Annotated[Path, typer.Option("--witness-key", help="The witness's.")],
    json_: Json = False,
) -> None:
    """Have a new checkpoint countersigned by another Stockade, and keep it in FILE.

    The witness signs only what is proved to add to all that it has signed before.
    """
    from ledger.errors import LedgerError
    from stockade.client import Client
    from stockade.home import Home

    try:
        keys, other = read_keys(key), read_keys(witness_key)
        with Client.open() as own, Client.open(Home.under(witness.absolute())) as there:
            keys, other = followed(keys, own), followed(other, there)
            note, size, seconds = _countersigned(own, there, keys, other)
    except LedgerError as error:
        raise StockadeError(error.message, reason=error.code, fix=error.fix) from None
    check_replaceable(file)
    fresh = file.with_name(file.name + ".new")
    with fresh.open("wb") as out:
        out.write(note)
        out.flush()
        os.fsync(out.fileno())
    fresh.replace(file)
    if json_:
        machine.emit({"file": str(file), "size": size, "witness": other.chain, "time": seconds})
    else:
        say(f"{file}: {many(size, 'receipt')}, countersigned by {other.chain}")


def _countersigned(
    own: "Client", there: "Client", keys: "Lineage", other: "Lineage"
) -> tuple[bytes, int, int]:
    from ledger.cosign import add_signatures, parse_cosigned
    from ledger.lineage import encode_lineage
    from ledger.note import parse_note

    seen = there.countersign_checkpoint(keys.chain).size
    answer = own.checkpoint_since(seen)
    signed = there.countersign_checkpoint(
        keys.chain, answer.checkpoint, seen, answer.consistency, encode_lineage(keys)
    ).cosignature
    if not signed:
        raise StockadeError(
            "the witness has seen another checkpoint meanwhile",
            reason="STORE_CONFLICT",
            fix="try again",
        )
    note = add_signatures(answer.checkpoint, parse_note(signed)[1])
    checkpoint, seconds = parse_cosigned(note, keys, other)
    return note, checkpoint.size, seconds
