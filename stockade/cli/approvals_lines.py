"""`approvals watch` without a terminal: statements out, lines in.

A line names the approval it is about, which must have been shown here. Whoever writes the lines is
whoever started this: there is nothing to paste or to press by mistake.
"""

import os
import select
import sys
import time
from typing import TYPE_CHECKING

from stockade.cli.answering import Shown, is_pending, show, state_of
from stockade.cli.ids import resolve
from stockade.cli.inbox import Inbox
from stockade.cli.notifying import Notifier
from stockade.cli.terminal import note, report, say
from stockade.errors import StockadeError
from stockade.v1 import approval_pb2

if TYPE_CHECKING:
    from stockade.client import Client

POLL_SECONDS = 0.2


class ByLines:
    """Until "quit", or until the daemon goes."""

    def __init__(self, client: "Client", inbox: Inbox, notifier: Notifier) -> None:
        self._client = client
        self._inbox = inbox
        self._notifier = notifier
        self._shown: dict[str, Shown] = {}
        self._rest = b""
        self._open = True

    def run(self) -> None:
        """See the class."""
        while True:
            for news in self._inbox.take():
                if isinstance(news, approval_pb2.Approval):
                    self._show(news)
            if failure := self._notifier.failure():
                note(failure)
            for line in self._lines():
                if not self._obey(line):
                    return

    def _show(self, approval: approval_pb2.Approval) -> None:
        if not is_pending(approval):
            self._shown.pop(approval.approval_id, None)
            say(f"{approval.approval_id} {state_of(approval)}\n".rstrip())
            return
        self._notifier.tell(approval)
        try:
            self._shown[approval.approval_id], _ = show(approval)
        except StockadeError as error:
            report(error)
        say()

    def _lines(self) -> list[str]:
        if not self._open:
            time.sleep(POLL_SECONDS)
            return []
        ready, _, _ = select.select([sys.stdin, self._inbox.descriptor], [], [], POLL_SECONDS)
        if sys.stdin not in ready:
            return []
        data = os.read(sys.stdin.fileno(), 4096)
        self._open = bool(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line.decode(errors="replace").strip() for line in lines]

    def _obey(self, line: str) -> bool:
        verb, _, rest = line.partition(" ")
        text, _, reason = rest.strip().partition(" ")
        if verb == "quit":
            return False
        if verb not in ("approve", "reject") or not text:
            if line:
                note('say "approve ID", "reject ID [reason]" or "quit"')
            return True
        try:
            shown = self._shown[resolve(text, "approval", lambda: self._shown)]
        except (StockadeError, KeyError):
            note(f"no approval that was shown here and waits has the id {text}")
            return True
        self._answer(shown, approve=verb == "approve", reason=reason.strip())
        return True

    def _answer(self, shown: Shown, *, approve: bool, reason: str) -> None:
        """Sends it; that it came too late or did not count is said, and the watch goes on."""
        try:
            shown.answer(self._client, approve=approve, reason=reason)
        except StockadeError as error:
            report(error)
        else:
            note("  approved" if approve else "  rejected")
