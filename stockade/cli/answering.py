"""Showing an approval and answering exactly what was shown.

The one way from this command line to an answer: `Shown` keeps the approval message whose statement
was printed, and the answer is signed over that message's bytes and no other.
"""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from stockade.approving import verified
from stockade.cli import machine
from stockade.cli.argument_view import View
from stockade.cli.rows import WARNING, Row, painted
from stockade.cli.statement_view import Page, labelled, page
from stockade.cli.terminal import columns, in_colour, size, when
from stockade.statement import Statement

if TYPE_CHECKING:
    from stockade.client import Client
    from stockade.lease import LeaseTerms
    from stockade.v1 import approval_pb2


@dataclass(frozen=True, slots=True)
class Shown:
    """An approval that a person has before their eyes."""

    approval: "approval_pb2.Approval"
    statement: Statement

    def answer(
        self,
        client: "Client",
        *,
        approve: bool,
        reason: str = "",
        lease: "LeaseTerms | None" = None,
    ) -> "approval_pb2.AnswerApprovalResponse":
        """Signs and sends one answer to what was shown, and perhaps a lease that was shown, too."""
        return client.answer_approval(self.approval, approve=approve, reason=reason, lease=lease)


def taken(approval: "approval_pb2.Approval") -> Shown:
    """A copy of our own: what is answered cannot be changed by whoever holds the message."""
    kept = type(approval)()
    kept.CopyFrom(approval)
    return Shown(kept, verified(kept))


def answers(approval: "approval_pb2.Approval", width: int) -> list[Row]:
    """Who else has seen it, what others have said so far, and how it ended if it did."""
    lines: list[Row] = []
    if approval.shown_to:
        seen = ", ".join(f"{one.device_name} {when(one.time)}" for one in approval.shown_to)
        lines += labelled("seen by", seen, width)
    if approval.HasField("escalated"):
        lines += labelled("escalated", f"{when(approval.escalated)}: nobody had answered", width)
    for answer in approval.answers:
        word = "yes" if answer.approved else "no"
        word += ", and a lease" if answer.leased else ""
        reason = f": {answer.reason}" if answer.reason else ""
        lines += labelled(
            "answer", f"{word} by {answer.device_name} ({answer.device_id}){reason}", width
        )
    if not is_pending(approval):
        lines += labelled("state", state_of(approval), width)
    return lines


def show(
    approval: "approval_pb2.Approval",
    *,
    whole: bool = False,
    unmasked: bool = False,
    file: TextIO = sys.stdout,
) -> tuple[Shown, Page]:
    """Prints the statement, its state and the answers so far."""
    shown, width = taken(approval), columns()
    statement = page(shown.statement, View(width, whole, unmasked))
    notes = [Row(line, WARNING) for line in unseen(statement)]
    for row in (*statement.rows, *answers(shown.approval, width), *notes):
        print(painted(row, colour=in_colour(file)), file=file)
    file.flush()
    return shown, statement


def unseen(statement: Page) -> list[str]:
    """What of a statement is not to be read where it is shown, and how it is."""
    said = []
    if statement.hidden:
        said.append(f"{size(statement.hidden)} are not shown: --full shows them")
    if statement.masked:
        said.append("what looks like a secret is masked: --unmask shows it")
    return said


def state_of(approval: "approval_pb2.Approval") -> str:
    """The approval's state in a word."""
    return str(machine.plain(approval)["state"])


def is_pending(approval: "approval_pb2.Approval") -> bool:
    """It can still be answered, as far as the message says."""
    return state_of(approval) == "pending"
