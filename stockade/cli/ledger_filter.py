"""The options that say which receipts: shared by `ledger tail` and `ledger export`."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from stockade.cli.moments import parse_moment
from stockade.cli.terminal import UsageError

if TYPE_CHECKING:
    from stockade.v1 import ledger_pb2

Principal = Annotated[
    str, typer.Option("--principal", metavar="WHO", help="Of this device or agent (`whoami`).")
]
Tool = Annotated[str, typer.Option("--tool", metavar="TOOL", help="Of calls of this tool.")]
Kind = Annotated[
    list[str] | None,
    typer.Option("--kind", metavar="KIND", help="`call.denied`, or `call.` for all such; repeat."),
]
Decision = Annotated[
    str,
    typer.Option("--decision", metavar="WORD", help="permitted, denied, approved, rejected, ..."),
]
Since = Annotated[
    str, typer.Option("--since", metavar="TIME", help="A moment, a day, or 90m: so long ago.")
]
Until = Annotated[str, typer.Option("--until", metavar="TIME", help="The end of the period.")]

_DECISIONS = {
    **{
        word: (f"call.{word}",)
        for word in ("permitted", "denied", "rejected", "expired", "cancelled", "pending_approval")
    },
    # Who said yes, and by which lease nobody was asked.
    "approved": ("approval.answered", "lease.used"),
}


def only(
    principal: str, tool: str, kind: list[str] | None, decision: str, since: str, until: str
) -> "ledger_pb2.ReceiptFilter | None":
    """The filter that the options make; None where they leave nothing out."""
    from stockade.v1 import ledger_pb2

    if decision and decision not in _DECISIONS:
        raise UsageError(f"{decision!r} is no decision", fix="one of: " + ", ".join(_DECISIONS))
    now = datetime.now(UTC)
    made = ledger_pb2.ReceiptFilter(
        principal=principal,
        tool=tool,
        kinds=[*(kind or ()), *_DECISIONS.get(decision, ())],
        since=parse_moment(since, now) if since else "",
        until=parse_moment(until, now, end=True) if until else "",
    )
    return made if made.ByteSize() else None
