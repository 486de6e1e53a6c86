"""`stockade ledger`: the receipts. What verifies them offline is in `ledger_verify`."""

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from stockade.cli import (
    ledger_evidence,
    ledger_export,
    ledger_keys_rotate,
    ledger_output,
    ledger_verify,
    ledger_witness,
    machine,
)
from stockade.cli import ledger_filter as having
from stockade.cli.ids import SHORTEST, WHOLE, resolve
from stockade.cli.options import Json, examples, group
from stockade.cli.receipt_view import told
from stockade.cli.terminal import lines, note, say, when
from stockade.errors import NotFound

if TYPE_CHECKING:
    from stockade.client import Client
    from stockade.v1 import call_pb2, ledger_pb2

app = group(
    "ledger",
    "Read, export and verify the receipts.",
    "stockade ledger tail -f",
    "stockade ledger export ledger.jsonl",
    "stockade ledger verify ledger.jsonl --key ledger.pub --checkpoint c.txt",
)


@app.command(
    epilog=examples(
        "stockade ledger tail -n 100",
        "stockade ledger tail -f --json",
        "stockade ledger tail --tool run_shell --decision denied --since 7d",
        "stockade ledger tail --before 4711",
    )
)
def tail(
    count: Annotated[int, typer.Option("-n", min=1, max=500, help="How many.")] = 20,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="And new ones.")] = False,
    before: Annotated[
        int,
        typer.Option(
            "--before", metavar="ENTRY", min=0, show_default=False, help="Older than this entry."
        ),
    ] = 0,
    principal: having.Principal = "",
    tool: having.Tool = "",
    kind: having.Kind = None,
    decision: having.Decision = "",
    since: having.Since = "",
    until: having.Until = "",
    json_: Json = False,
) -> None:
    """Show the last receipts, oldest first: all, or those that fit every option given."""
    from stockade.client import Client

    wanted = having.only(principal, tool, kind, decision, since, until)
    with Client.open() as client:
        # Asked first: what comes between is then shown by one of the two.
        newest = client.status().ledger_sequence if follow and wanted else 0
        receipts = _last(client, count, str(before) if before else "", wanted)[::-1]
        for receipt in receipts:
            _show(receipt, json_)
        if follow:
            last = max(newest, receipts[-1].sequence if receipts else 0)
            for receipt in client.follow_ledger(last, wanted):
                _show(receipt, json_)


def _last(
    client: "Client", count: int, token: str, wanted: "ledger_pb2.ReceiptFilter | None"
) -> "list[call_pb2.Receipt]":
    """The newest that fit, newest first: page after page, since each looks at so many only."""
    found: list[call_pb2.Receipt] = []
    while True:
        page = client.read_ledger(page_size=count - len(found), page_token=token, only=wanted)
        found += page.receipts
        token = page.next_page_token
        if len(found) >= count or not token:
            return found


@app.command(
    epilog=examples(
        "stockade ledger show 01988a3c-5d1f", "stockade ledger show 01988a3c-5d1f --output"
    )
)
def show(
    call_id: Annotated[str, typer.Argument(metavar="CALL", help="A call's id, or its beginning.")],
    output: Annotated[
        bool, typer.Option("--output", help="And what it wrote, as far as that is kept.")
    ] = False,
    json_: Json = False,
) -> None:
    """Show one call as its receipts tell it: when it arrived, and what was how long after.

    What is long is cut here; --json has all of it. With --output evidence is taken of the
    call, verified, and what the call wrote is shown from there.
    """
    from stockade.client import Client

    with Client.open() as client:
        whole = _whole(client, call_id)
        receipts = _all(client, whole)
        if not receipts:
            raise NotFound(
                f"the ledger has no receipt of call {whole}",
                reason="UNKNOWN_CALL",
                fix="`stockade calls list` shows the calls",
            )
        _timeline(receipts, as_json=json_)
        if output:
            ledger_output.show_output(client, whole, as_json=json_)


def _timeline(receipts: "list[call_pb2.Receipt]", *, as_json: bool) -> None:
    began = receipts[0].time.ToMilliseconds()
    for number, receipt in enumerate(receipts):
        after = f"+{(receipt.time.ToMilliseconds() - began) / 1000:.3f} s" if number else ""
        _show(receipt, as_json, after)
        if not as_json:
            _show_body(receipt)
    if not as_json and sys.stderr.isatty():
        note("every field, whole and signed: the same with --json")


app.command(
    epilog=examples(
        "stockade ledger checkpoint > checkpoint.txt",
        "stockade ledger checkpoint --since old.txt --key ledger.pub > new.txt",
    )
)(ledger_verify.checkpoint)


@app.command(epilog=examples("stockade ledger keys > ledger.pub"))
def keys() -> None:
    """Print the ledger's public keys, to compare with a copy obtained otherwise."""
    from stockade.client import Client

    with Client.open() as client:
        text = client.ledger_keys()
    sys.stdout.buffer.write(text)
    sys.stdout.flush()


app.command("rotate-keys", epilog=examples("stockade ledger rotate-keys"))(
    ledger_keys_rotate.rotate_keys
)
app.command(
    epilog=examples(
        "stockade ledger export ledger.jsonl",
        "stockade ledger export - | gzip > ledger.jsonl.gz",
        "stockade ledger export denied.cef --format cef --decision denied --since 7d",
        "stockade ledger export siem.ocsf --format ocsf --cursor siem.cursor",
    )
)(ledger_export.export)
app.command(
    epilog=examples(
        "stockade ledger verify ledger.jsonl --key ledger.pub",
        "stockade ledger verify ledger.jsonl --key ledger.pub --checkpoint c.txt",
        "stockade ledger verify big.jsonl --key ledger.pub --jobs 8",
    )
)(ledger_verify.verify)


app.command(
    epilog=examples(
        "stockade ledger countersign c.txt --witness ~/witness \\",
        "  --key ledger.pub --witness-key witness.pub",
    )
)(ledger_witness.countersign)
app.command(
    epilog=examples(
        "stockade ledger evidence call.evidence --call 01988a3c-5d1f",
        "stockade ledger evidence week.evidence --since 7d",
        "stockade ledger evidence day.evidence --since 2026-11-28 --until 2026-11-28",
    )
)(ledger_evidence.evidence)
app.command(
    epilog=examples(
        "stockade ledger report call.evidence --key ledger.pub",
        "stockade ledger report call.evidence --key ledger.pub --html call.html",
    )
)(ledger_evidence.report)


def _whole(client: "Client", text: str) -> str:
    if len(text) >= WHOLE:
        return text
    try:
        return resolve(
            text, "call", lambda: (one.call_id for one in client.list_calls(page_size=500).calls)
        )
    except NotFound as error:
        if not (text.isascii() and text.isdecimal() and len(text) < SHORTEST):
            raise
        # What stands first in a line of `tail`.
        shown = f"`stockade ledger tail --before {int(text) + 1} -n 1 --json`"
        raise NotFound(
            error.message,
            reason=error.reason,
            fix=f"`stockade calls list` shows them; {shown} the receipt of that number",
        ) from None


def _all(client: "Client", call_id: str) -> "list[call_pb2.Receipt]":
    receipts: list[call_pb2.Receipt] = []
    token = ""
    while True:
        page = client.read_ledger(call_id=call_id, page_token=token)
        receipts += page.receipts
        token = page.next_page_token
        if not token:
            return receipts


def _show(receipt: "call_pb2.Receipt", as_json: bool, after: str = "") -> None:
    if as_json:
        machine.emit(receipt)
        return
    body = _body(receipt)
    about = " ".join(str(body[key]) for key in ("tool", "state", "reason") if body.get(key))
    moment = f"{after or when(receipt.time):<16}"
    say(f"{receipt.sequence:>7}  {moment}  {receipt.kind:<22}  {about}".rstrip())


def _show_body(receipt: "call_pb2.Receipt") -> None:
    for name, text in told(_body(receipt)):
        lines([f"{name}: {text}"], indent=11)


def _body(receipt: "call_pb2.Receipt") -> dict[str, Any]:
    """What the signed bytes say, without the header that the first line shows."""
    try:
        fields = json.loads(receipt.canonical)
    except (ValueError, RecursionError):
        return {"canonical": "is not JSON"}
    body = fields.get("body", fields) if isinstance(fields, dict) else None
    return body if isinstance(body, dict) else {"canonical": "is not an object"}
