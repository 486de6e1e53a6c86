"""`stockade ledger evidence` and `stockade ledger report`: take evidence, and read it offline."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import typer

from stockade.cli import machine
from stockade.cli.ids import WHOLE, resolve
from stockade.cli.leases import find
from stockade.cli.ledger_verify import check_kind, read_keys
from stockade.cli.moments import parse_moment
from stockade.cli.options import Json
from stockade.cli.terminal import UsageError, many, say
from stockade.errors import StockadeError
from stockade.files import private_part

if TYPE_CHECKING:
    from stockade.client import Client


def evidence(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Written whole, or not at all.")],
    call: Annotated[
        str, typer.Option("--call", metavar="CALL", help="Of a call: its id, or its beginning.")
    ] = "",
    lease: Annotated[
        str, typer.Option("--lease", metavar="LEASE", help="Of a lease: its id, or its beginning.")
    ] = "",
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help="Of a period: its beginning.")
    ] = "",
    until: Annotated[
        str, typer.Option("--until", metavar="TIME", help="And its end; without: now.")
    ] = "",
    json_: Json = False,
) -> None:
    """Write evidence of a call, a lease or a period: receipts, proofs, and what they name.

    A time is 2026-11-28T12:00:00Z, a day, or how long ago (90m, 7d). Arguments and output of
    calls and the statements that people approved are in it: it is made 0600.
    """
    from stockade.client import Client

    if sum(map(bool, (call, lease, since))) != 1 or (until and not since):
        raise UsageError(
            "evidence is of one call, of one lease, or of a period",
            fix="--call CALL, --lease LEASE, or --since TIME and perhaps --until TIME",
        )
    now = datetime.now(UTC)
    begin = parse_moment(since, now) if since else ""
    end = parse_moment(until or "0s", now, end=True) if since else ""
    size = 0
    with Client.open() as client:
        whole = _whole(client, call) if call else ""
        if lease and len(lease) < WHOLE:
            lease = find(client, lease).lease_id
        with private_part(file) as out:
            for piece in client.export_evidence(
                call_id=whole, lease_id=lease, begin=begin, end=end
            ):
                size += out.write(piece.data)
    if json_:
        machine.emit({"file": str(file), "bytes": size})
    else:
        say(f"{file}: {size} bytes")


def report(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="From `ledger evidence`.")],
    key: Annotated[Path, typer.Option("--key", help="The ledger's public keys.")],
    page: Annotated[
        Path | None, typer.Option("--html", metavar="PAGE", help="Write it as one page of HTML.")
    ] = None,
    json_: Json = False,
) -> None:
    """Verify evidence offline and tell what it shows. Exit status 1 when it shows nothing.

    The keys in the file are not used: bring your own copy.
    """
    from ledger.account import account, as_html, as_text
    from ledger.errors import LedgerError
    from ledger.evidence import verify_evidence

    try:
        with file.open("rb") as lines:
            found = verify_evidence(_lines(lines), read_keys(key))
    except LedgerError as error:
        check_kind(file, key, "evidence")
        raise StockadeError(error.message, reason=error.code, fix=error.fix) from None
    if page is not None:
        with private_part(page) as out:
            out.write(as_html(account(found)).encode())
    if json_:
        machine.emit(
            {
                "ok": True,
                "chain": found.chain,
                "subject": dict(found.subject),
                "complete": found.complete,
                "entries": [receipt.sequence for receipt in found.receipts],
                "documents": {digest: one["what"] for digest, one in found.documents.items()},
                "checkpoint": found.checkpoint.size,
            }
        )
    elif page is not None:
        say(f"{page}: {many(len(found.receipts), 'receipt')}, verified")
    else:
        print(as_text(account(found)), flush=True)


def _lines(file: BinaryIO) -> Iterator[bytes]:
    from ledger.evidence import MAX_LINE

    while line := file.readline(MAX_LINE + 1):
        yield line


def _whole(client: "Client", text: str) -> str:
    if len(text) >= WHOLE:
        return text
    return resolve(
        text, "call", lambda: (one.call_id for one in client.list_calls(page_size=500).calls)
    )
