"""`stockade ledger show --output`: what a call wrote, as far as it is kept.

Trusted to show nothing that is not what the signed receipt of the call's end names: it is taken as
evidence, and verified as that, with the keys that the daemon says it has. Control characters are
made visible. Raises StockadeError.
"""

from typing import TYPE_CHECKING

from stockade.cli import machine
from stockade.cli.terminal import say
from stockade.cli.visible import visible_lines
from stockade.errors import StockadeError

if TYPE_CHECKING:
    from stockade.client import Client


def show_output(client: "Client", call_id: str, *, as_json: bool) -> None:
    """Print it, a stream after the other."""
    from ledger.account import written
    from ledger.errors import LedgerError
    from ledger.evidence import verify_evidence
    from ledger.lineage import parse_lineage

    pieces = b"".join(piece.data for piece in client.export_evidence(call_id=call_id))
    try:
        keys = parse_lineage(client.ledger_keys())
        found = written(verify_evidence(pieces.splitlines(keepends=True), keys))
    except LedgerError as error:
        raise StockadeError(error.message, reason=error.code, fix=error.fix) from None
    for one in found:
        if as_json:
            machine.emit({"stream": one.stream, "said": one.said, **(one.document or {})})
            continue
        first, *more = visible_lines(one.text)
        say(f"           wrote to {one.stream}: {first}")
        for line in more:
            say(f"             | {line}")
    if not found and not as_json:
        say("           of its output nothing is kept")
