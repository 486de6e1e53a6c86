"""What is on an approver's desk: what waits, the one before them, and what they do with it.

Values and their changes; no terminal, no daemon, no clock. An answer is only ever to `shown`, which
is a copy of what was put on the screen, and a lease only the terms that were shown.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from stockade.approving import verified
from stockade.cli.answering import Shown, is_pending, state_of
from stockade.cli.argument_view import View
from stockade.cli.lease_choice import Choice
from stockade.cli.lookalike import revealed
from stockade.cli.statement_view import Page, page
from stockade.cli.terminal import time_left
from stockade.cli.visible import visible
from stockade.errors import ApprovalUnclear, StockadeError
from stockade.lease import LeaseTerms
from stockade.statement import ExactCall
from stockade.v1.approval_pb2 import Approval

# Reasons for a no that a key says; the requester reads them.
REASONS = ("not what was asked for", "too wide", "not now")


class Mode(Enum):
    """What the keys mean."""

    READING = auto()
    SURE = auto()  # a yes to something that is partly folded away: once more
    LEASE = auto()
    WHY = auto()  # a no: its reason by a key
    TYPING = auto()


@dataclass(frozen=True, slots=True)
class Brief:
    """One approval in a line, safe to show; `error` if it contradicts itself."""

    who: str = ""
    tool: str = ""
    tier: str = ""
    risk: str = ""
    expires_ms: int = 0
    error: str = ""


@dataclass
class Desk:
    """See the module."""

    pending: dict[str, Approval] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    skipped: set[str] = field(default_factory=set)
    shown: Shown | None = None
    # Of an approval that contradicts itself: it is not shown, and cannot be answered.
    unclear: tuple[str, StockadeError] | None = None
    mode: Mode = Mode.READING
    view: View = field(default_factory=View)
    top: int = 0
    choice: Choice | None = None
    terms: LeaseTerms | None = None
    refusal: str = ""  # why the chosen terms are no lease
    reason: str = ""
    said: str = ""
    lost: str = ""
    log: list[str] = field(default_factory=list)
    _briefs: dict[str, tuple[Approval, Brief]] = field(default_factory=dict)
    _yeses: Counter[str] = field(default_factory=Counter)
    _page: tuple[tuple[str, View, str], Page] | None = None

    @property
    def waiting(self) -> list[Approval]:
        """What this person may still answer, oldest first; what was skipped comes last."""
        left = [one for key, one in self.pending.items() if key not in self.done]
        return sorted(left, key=lambda one: one.approval_id in self.skipped)

    @property
    def current(self) -> str:
        """The id of what is before them; empty if nothing is."""
        if self.shown is not None:
            return self.shown.approval.approval_id
        return self.unclear[0] if self.unclear else ""

    @property
    def leased(self) -> bool:
        """Whether somebody has signed a lease with a yes to what is before them."""
        return self.shown is not None and any(one.leased for one in self.shown.approval.answers)

    def heard(self, approval: Approval) -> bool:
        """Takes news of one in; true if it concerns what is on the screen."""
        key = approval.approval_id
        if is_pending(approval):
            self.pending[key] = approval
        else:
            self.pending.pop(key, None)
            self._briefs.pop(key, None)
        if key != self.current:
            return False
        if self.shown is not None and _asked(self.shown.approval) == _asked(approval):
            self.shown = Shown(approval, self.shown.statement)
            return False
        self.said = f"{key[:13]} {_what_happened(approval)}; keys pressed meanwhile do not count"
        return True

    def brief(self, approval: Approval) -> Brief:
        """It in a line; made once, as a statement may be a megabyte."""
        kept = self._briefs.get(approval.approval_id)
        if kept is None or kept[0] is not approval:
            kept = (approval, brief_of(approval))
            self._briefs[approval.approval_id] = kept
        return kept[1]

    def page(self, view: View) -> Page:
        """What is shown of the statement before the person; the time left in it is of now."""
        if self.shown is None:
            raise LookupError("nothing is before the person")
        statement = self.shown.statement
        key = (statement.approval_id, view, time_left(statement.expires_ms))
        if self._page is None or self._page[0] != key:
            self._page = (key, page(statement, view))
        return self._page[1]

    def clear(self) -> None:
        """Nothing is before the person."""
        self.shown = self.unclear = self.choice = self.terms = None
        self.mode, self.top, self.reason, self.refusal = Mode.READING, 0, "", ""
        self.view = View()

    def next(self, step: int) -> str:
        """The id of the one so many after the current one, in a circle."""
        ids = [one.approval_id for one in self.waiting]
        if not ids:
            return ""
        if self.current not in ids:
            return ids[0]
        return ids[(ids.index(self.current) + step) % len(ids)]

    def counted(self, call: ExactCall) -> int:
        """How often a yes was said here to this call of this caller, this one included."""
        same = replace(call, policy_digest="").digest()
        self._yeses[same] += 1
        return self._yeses[same]

    def note(self, text: str) -> None:
        """What has been done: on the screen, and left behind on the terminal afterwards."""
        self.said = text
        self.log.append(text)


def brief_of(approval: Approval) -> Brief:
    """An approval in a line."""
    try:
        said = verified(approval)
    except ApprovalUnclear as error:
        return Brief(error=error.reason)
    call = said.call
    return Brief(
        who=visible(revealed(said.requester_name)),
        tool=visible(revealed(call.tool)),
        tier=visible(call.tier),
        risk=f"{said.risk_milli / 1000:.3f}",
        expires_ms=said.expires_ms,
    )


def _asked(approval: Approval) -> tuple[object, ...]:
    """What of it must be as it was for an answer to be to what was seen."""
    return approval.approval_id, approval.state, approval.statement, list(approval.answers)


def _what_happened(approval: Approval) -> str:
    if is_pending(approval):
        return "changed: somebody else answered, too"
    return f"is {state_of(approval)}"
