"""Showing an approval and answering exactly what was shown.

The one way from this command line to an answer: `Shown` keeps the approval message whose statement
was printed, and the answer is signed over that message's bytes and no other.
"""

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from stockade.approving import verified
from stockade.cli import machine
from stockade.cli.statement_view import statement_lines
from stockade.cli.terminal import columns
from stockade.cli.visible import visible
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


def show(
    approval: "approval_pb2.Approval", *, whole: bool = False, file: TextIO = sys.stdout
) -> Shown:
    """Prints the statement, its state and the answers so far."""
    # A copy of our own: what is answered later cannot be changed by whoever holds the message.
    kept = type(approval)()
    kept.CopyFrom(approval)
    statement = verified(kept)
    for line in statement_lines(statement, width=columns(), whole=whole):
        print(line, file=file)
    for answer in kept.answers:
        word = "yes" if answer.approved else "no"
        reason = f": {answer.reason}" if answer.reason else ""
        text = f"{'answer':<11}{word} by {answer.device_name} ({answer.device_id}){reason}"
        print(visible(text), file=file)
    if not is_pending(kept):
        print(f"{'state':<11}{state_of(kept)}", file=file)
    file.flush()
    return Shown(kept, statement)


def state_of(approval: "approval_pb2.Approval") -> str:
    """The approval's state in a word."""
    return str(machine.plain(approval)["state"])


def is_pending(approval: "approval_pb2.Approval") -> bool:
    """It can still be answered, as far as the message says."""
    return state_of(approval) == "pending"
