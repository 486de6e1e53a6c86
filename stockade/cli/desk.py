"""Approvals at a terminal: one before the person at a time, answered by keys.

Trusted to sign an answer only to what stood on the screen, whole or said not to be: a key answers
if none had been pressed until a moment after the screen was painted, however slow terminal and
machine are; one that changes under the person's eyes is taken away, a yes needs the end of what is
to be read to have been on the screen, and there is no key by default.
"""

import math
import select
import time
from typing import TYPE_CHECKING

from stockade.approving import offered
from stockade.cli import keyboard as keys
from stockade.cli.answering import is_pending, taken
from stockade.cli.argument_view import View
from stockade.cli.desk_state import REASONS, Desk, Mode
from stockade.cli.desk_view import Frame, frame, hidden
from stockade.cli.inbox import Back, Inbox, Lost
from stockade.cli.keyboard import Keyboard
from stockade.cli.lease_choice import Choice
from stockade.cli.notifying import Notifier
from stockade.cli.rows import WARNING, Row
from stockade.cli.screen import LEAST_COLUMNS, LEAST_ROWS, Screen
from stockade.cli.terminal import local_time
from stockade.errors import StockadeError

if TYPE_CHECKING:
    from stockade.client import Client

# After an approval was painted its keys are dead this long: a key meant for the one before is lost.
GRACE_SECONDS = 0.6
TOO_SOON = "too soon after it came up: no answer"
OFTEN = 3  # equal yeses, as `approvals suggest` counts
TICK_SECONDS = 0.25


class AtDesk:
    """A person at a desk, until they quit or the daemon is gone for good."""

    def __init__(
        self,
        client: "Client",
        inbox: Inbox,
        keyboard: Keyboard,
        screen: Screen,
        notifier: Notifier,
    ) -> None:
        self.desk = Desk()
        self._client = client
        self._inbox = inbox
        self._keyboard = keyboard
        self._screen = screen
        self._notifier = notifier
        # From when on keys count; never, until what is to be answered has been painted.
        self._armed = math.inf
        self._silent = 0.0  # when the keyboard was last seen to have nothing for us
        self._read_on = True  # something of what is shown has not been on the screen
        self._frame: Frame | None = None

    def run(self) -> None:
        """Until the person quits."""
        while True:
            self._hear()
            if not self.desk.current and self.desk.waiting:
                self._put(self.desk.waiting[0].approval_id)
            fits = self._paint()
            self._wait()
            if not self._obey(fits=fits):
                return

    def _wait(self) -> None:
        """Until a key, news, or what comes by itself: the next second, the moment keys count."""
        now = time.monotonic()
        if not self._keyboard.pressed:
            self._silent = now
        left = self._armed - now
        seconds = min(TICK_SECONDS, left) if left > 0 else TICK_SECONDS
        select.select([self._keyboard.descriptor, self._inbox.descriptor], [], [], seconds)

    def _hear(self) -> None:
        desk = self.desk
        for news in self._inbox.take():
            if isinstance(news, Lost):
                desk.lost = f"{news.error.message}; trying again"
                desk.pending.clear()
                desk.clear()
            elif isinstance(news, Back):
                desk.lost = ""
            else:
                desk.lost = ""
                if is_pending(news) and news.approval_id not in desk.pending:
                    self._notifier.tell(news)
                if desk.heard(news):
                    self._put_again(desk.current)
        desk.said = self._notifier.failure() or desk.said

    def _put(self, key: str) -> None:
        """Puts one before the person; its keys count after a moment."""
        desk = self.desk
        desk.clear()
        try:
            desk.shown = taken(desk.pending[key])
        except StockadeError as error:
            desk.unclear = (key, error)
        self._again()

    def _put_again(self, key: str) -> None:
        """It is not what it was: as it is now, or taken away."""
        if key in self.desk.pending and key not in self.desk.done:
            self._put(key)
        else:
            self.desk.clear()

    def _again(self) -> None:
        """Something else is to be read: from its beginning, and not by the key of before."""
        self.desk.top = 0
        self._read_on = True
        self._arm()

    def _arm(self) -> None:
        self._armed = math.inf

    def _paint(self) -> bool:
        width, height = self._screen.size()
        if width < LEAST_COLUMNS or height < LEAST_ROWS:
            text = f"too small: {LEAST_COLUMNS} x {LEAST_ROWS} at least; q quits"
            self._screen.paint([Row(text, WARNING)])
            self._arm()
            return False
        self._frame = frame(self.desk, width, height, int(time.time() * 1000))
        self.desk.top = min(self.desk.top, self._frame.last_top)
        if self.desk.top >= self._frame.last_top:
            self._read_on = False
        self._screen.paint(self._frame.rows)
        if self._armed == math.inf:
            self._armed = time.monotonic() + GRACE_SECONDS
        return True

    def _obey(self, *, fits: bool) -> bool:
        if self.desk.mode is Mode.TYPING and fits:
            return self._type()
        key = self._keyboard.key()
        if key in ("q", keys.GONE):
            return False
        if key == keys.BURST:
            self.desk.said = "several keys at once, or a paste: no answer"
        elif key and fits and self._answers(key) and self._silent < self._armed:
            self.desk.said = TOO_SOON
        elif key and fits:
            self._press(key)
        return True

    def _answers(self, key: str) -> bool:
        """Whether the key would answer, as opposed to show something."""
        return key in ("a", "y", keys.ENTER) or (self.desk.mode is Mode.WHY and key.isdigit())

    def _press(self, key: str) -> None:
        desk = self.desk
        desk.said = ""
        if not desk.current or self._scrolled(key):
            return
        if desk.mode is Mode.READING:
            self._reading(key)
        elif key == keys.ESCAPE:
            self._go(Mode.READING)
        elif desk.mode is Mode.SURE and key in ("y", "f"):
            if key == "y":
                self._answer(approve=True)
            else:
                self._unfold()
        elif desk.mode is Mode.LEASE:
            self._leasing(key)
        elif desk.mode is Mode.WHY:
            self._why(key)

    def _scrolled(self, key: str) -> bool:
        if self._frame is None:
            return False
        page = max(self._frame.shown_rows - 1, 1)
        far = self._frame.last_top
        steps = {keys.UP: -1, "k": -1, keys.DOWN: 1, "j": 1, keys.PAGE_UP: -page, " ": page}
        steps |= {keys.PAGE_DOWN: page, keys.HOME: -far, keys.END: far}
        if key in steps:
            self.desk.top = min(max(self.desk.top + steps[key], 0), far)
        return key in steps

    def _reading(self, key: str) -> None:
        desk = self.desk
        if key in ("n", "p"):
            self._put(desk.next(1 if key == "n" else -1))
        elif key == "s":
            desk.skipped.add(desk.current)
            self._put(desk.next(1))
        elif desk.shown is None:
            return
        elif key == "f":
            self._unfold()
        elif key == "m":
            self._unmask()
        elif key == "r":
            desk.mode = Mode.WHY
            self._arm()
        elif key in ("a", "e", "b", "l") and self._has_read():
            self._yes(key)

    def _yes(self, key: str) -> None:
        folded = hidden(self._frame.page if self._frame else None)
        if key == "a" and not folded:
            self._answer(approve=True)
        elif key == "a":
            self.desk.mode, self.desk.said = Mode.SURE, folded
            self._arm()
        elif folded:
            self.desk.said = f"{folded}: f shows them, then a lease can be given"
        elif key == "l":
            self._same_lease()
        elif self.desk.shown is not None:
            self._choose(Choice(self.desk.shown.statement, bounded=key == "b"))
            self._go(Mode.LEASE)

    def _same_lease(self) -> None:
        """The lease that another has signed with this approval, to be read and signed as it is."""
        desk = self.desk
        if desk.shown is None or not desk.leased:
            return
        try:
            terms = offered(self._client.get_approval(desk.current))
        except StockadeError as error:
            desk.said = f"{error.reason}: {error.message}"
            return
        desk.choice, desk.terms, desk.refusal = None, terms, ""
        self._go(Mode.LEASE)

    def _leasing(self, key: str) -> None:
        desk = self.desk
        if key == "m":
            self._unmask()
        elif key == "y" and desk.terms is not None:
            if self._has_read():
                self._answer(approve=True)
        elif desk.choice is not None and (choice := desk.choice.pressed(key)) != desk.choice:
            self._choose(choice)

    def _choose(self, choice: Choice) -> None:
        desk = self.desk
        desk.choice, desk.terms, desk.refusal = choice, None, ""
        if missing := choice.missing():
            desk.refusal = f"no narrow bound fits {', '.join(missing)}: press its number"
            return
        try:
            desk.terms = choice.terms()
        except StockadeError as error:
            desk.refusal = error.message

    def _why(self, key: str) -> None:
        if key == "t":
            self.desk.mode = Mode.TYPING
        elif key == keys.ENTER:
            self._answer(approve=False)
        elif key.isdigit() and 1 <= int(key) <= len(REASONS):
            self._answer(approve=False, reason=REASONS[int(key) - 1])

    def _type(self) -> bool:
        data = self._keyboard.read()
        key = keys.key_of(data) if data else ""
        if key == keys.ENTER:
            self._answer(approve=False, reason=self.desk.reason.strip())
        elif key == keys.ESCAPE:
            self.desk.mode = Mode.WHY
        elif data:
            self.desk.reason = keys.typed(self.desk.reason, data)
        return not self._keyboard.gone

    def _go(self, mode: Mode) -> None:
        self.desk.mode = mode
        self._again()

    def _unfold(self) -> None:
        view = self.desk.view
        self.desk.view = View(whole=not view.whole, unmasked=view.unmasked)
        self._go(Mode.READING)

    def _unmask(self) -> None:
        view = self.desk.view
        self.desk.view = View(whole=view.whole, unmasked=not view.unmasked)

    def _has_read(self) -> bool:
        """Whether all of it has been on the screen; if not, more of it comes."""
        if self._read_on:
            self.desk.said = "not yet: there was more to read, here it is"
            self._scrolled(" ")
        return not self._read_on

    def _answer(self, *, approve: bool, reason: str = "") -> None:
        desk, shown = self.desk, self.desk.shown
        if shown is None:
            return
        lease = desk.terms if desk.mode is Mode.LEASE else None
        what = f"{desk.brief(shown.approval).tool} for {desk.brief(shown.approval).who}"
        try:
            answer = shown.answer(self._client, approve=approve, reason=reason, lease=lease)
        except StockadeError as error:
            fix = f" (fix: {error.fix})" if error.fix else ""
            desk.note(f"{what}: {error.reason}: {error.message}{fix}")
            self._go(Mode.READING)
            return
        desk.done.add(shown.approval.approval_id)
        if not approve:
            word = "no"
        elif lease is not None:
            word = f"yes, and a lease until {local_time(lease.expires_ms)}"
        else:
            word = "yes, once"
        more = "; policy asks for more" if approve and is_pending(answer.approval) else ""
        more += " (others sign that lease with l)" if more and lease is not None else ""
        desk.note(f"{what}: {word}{more}")
        if approve and lease is None and desk.counted(shown.statement.call) >= OFTEN:
            desk.said = (
                "the same yes again: `stockade approvals suggest` has a policy that would say it"
            )
        desk.clear()
