"""`stockade approvals watch`: approvals as they come, one before the person at a time.

An answer is always to the approval on the screen: keys pressed before it was there are forgotten,
several bytes at once (a paste, an arrow key) are no answer, and one that changes under the person's
eyes is taken away. Without a terminal, lines name the approval, which must have been shown.
"""

import os
import queue
import select
import sys
import termios
import threading
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from stockade.cli import machine
from stockade.cli.answering import Shown, is_pending, show, state_of
from stockade.cli.ids import SHORTEST, resolve
from stockade.cli.terminal import flush_typed_ahead, note, report, say
from stockade.errors import StockadeError
from stockade.v1 import approval_pb2

if TYPE_CHECKING:
    from stockade.client import Client
    from stockade.connection import Stream

POLL_SECONDS = 0.2
# After an approval appears its keys are dead this long: a key meant for the one before is lost.
GRACE_SECONDS = 0.6
KEYS = "a approve · r reject · s skip · f show in full · q quit"

_Item = approval_pb2.Approval | StockadeError | None


def watch(client: "Client", *, as_json: bool) -> int:
    """Runs until the person quits, the input tells it to, or the daemon goes."""
    with client.watch_approvals() as stream:
        if as_json:
            return _print_json(stream)
        inbox = _Inbox(stream)
        try:
            if sys.stdin.isatty() and sys.stdout.isatty():
                with _keys_at_once():
                    _Desk(client, inbox).run()
            else:
                _Lines(client, inbox).run()
        except KeyboardInterrupt:
            note()
    return 0


def _print_json(stream: "Stream[approval_pb2.ApprovalEvent]") -> int:
    for event in stream:
        machine.emit(event.approval)
    return 0


class _Inbox:
    """The stream, read by a thread of its own so that the keyboard is heard too."""

    def __init__(self, stream: "Stream[approval_pb2.ApprovalEvent]") -> None:
        self._items: queue.SimpleQueue[_Item] = queue.SimpleQueue()
        self._stream = stream
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            for event in self._stream:
                self._items.put(event.approval)
            self._items.put(None)
        except StockadeError as error:
            self._items.put(error)

    def take(self) -> Iterator[approval_pb2.Approval]:
        """What has come since; raises what ended the stream."""
        while True:
            try:
                item = self._items.get_nowait()
            except queue.Empty:
                return
            if isinstance(item, approval_pb2.Approval):
                yield item
            else:
                raise item or StockadeError("the daemon ended the watch", reason="STREAM_CUT")


class _Desk:
    """At a terminal: one approval at a time, one key for an answer."""

    def __init__(self, client: "Client", inbox: _Inbox) -> None:
        self._client = client
        self._inbox = inbox
        self._pending: dict[str, approval_pb2.Approval] = {}
        self._done: set[str] = set()  # skipped or answered by this person
        self._skipped: set[str] = set()

    def run(self) -> None:
        idle = False
        time.sleep(POLL_SECONDS)  # what waits already is on its way
        while True:
            self._update()
            waiting = [one for key, one in self._pending.items() if key not in self._done]
            if waiting:
                idle = False
                if not self._present(waiting[0]):
                    return
                continue
            if not idle:
                skipped = self._skipped & self._pending.keys()
                note(f"nothing {'else ' if skipped else ''}waits for you (q quits)")
                idle = True
            if self._key() == "q":
                return

    def _update(self) -> None:
        for approval in self._inbox.take():
            if is_pending(approval):
                self._pending[approval.approval_id] = approval
            else:
                self._pending.pop(approval.approval_id, None)

    def _present(self, approval: approval_pb2.Approval) -> bool:
        """Shows one and waits for a key; false when the person quits."""
        whole = False
        while True:
            pressed = self._shown_until_key(approval, whole=whole)
            if pressed != "f":
                return pressed != "q"
            whole = True

    def _shown_until_key(self, approval: approval_pb2.Approval, *, whole: bool) -> str:
        """The key that was pressed for it, acted upon; or nothing, if it went away."""
        key = approval.approval_id
        print()
        try:
            shown = show(approval, whole=whole)
        except StockadeError as error:
            report(error)
            self._done.add(key)
            return ""
        time.sleep(GRACE_SECONDS)
        flush_typed_ahead()
        note(f"{KEYS}  [{key[:SHORTEST]}]")
        while True:
            self._update()
            if self._pending.get(key) != shown.approval:
                note("  it changed meanwhile; your keys did not count")
                return ""
            pressed = self._key()
            if pressed in ("a", "r", "s"):
                self._done.add(key)
                self._act(shown, pressed)
            if pressed in ("a", "r", "s", "f", "q"):
                return pressed

    def _act(self, shown: Shown, pressed: str) -> None:
        if pressed == "s":
            self._skipped.add(shown.approval.approval_id)
            note("  skipped")
            return
        reason = ""
        if pressed == "r":
            with _whole_lines():
                flush_typed_ahead()
                print("  reason, shown to the requester (may be empty): ", end="", flush=True)
                reason = sys.stdin.readline().strip()
        _answer(self._client, shown, approve=pressed == "a", reason=reason)

    def _key(self) -> str:
        """One key, or nothing after a moment. Several bytes at once are nobody's answer."""
        if not _readable():
            return ""
        data = os.read(sys.stdin.fileno(), 1024)
        if not data:
            return "q"  # the terminal has gone
        return data.decode("ascii", "replace") if len(data) == 1 else ""


class _Lines:
    """Without a terminal: statements out, lines in."""

    def __init__(self, client: "Client", inbox: _Inbox) -> None:
        self._client = client
        self._inbox = inbox
        self._shown: dict[str, Shown] = {}
        self._rest = b""
        self._open = True

    def run(self) -> None:
        while True:
            for approval in self._inbox.take():
                self._show(approval)
            for line in self._lines():
                if not self._obey(line):
                    return

    def _show(self, approval: approval_pb2.Approval) -> None:
        if not is_pending(approval):
            self._shown.pop(approval.approval_id, None)
            say(f"{approval.approval_id} {state_of(approval)}\n".rstrip())
            return
        try:
            self._shown[approval.approval_id] = show(approval)
        except StockadeError as error:
            report(error)
        say()

    def _lines(self) -> list[str]:
        if not self._open:
            time.sleep(POLL_SECONDS)
            return []
        if not _readable():
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
        _answer(self._client, shown, approve=verb == "approve", reason=reason.strip())
        return True


def _answer(client: "Client", shown: Shown, *, approve: bool, reason: str) -> None:
    """Sends an answer; that it came too late or did not count is said, and the watch goes on."""
    try:
        shown.answer(client, approve=approve, reason=reason)
    except StockadeError as error:
        report(error)
    else:
        note("  approved" if approve else "  rejected")


def _readable() -> bool:
    return bool(select.select([sys.stdin], [], [], POLL_SECONDS)[0])


@contextmanager
def _keys_at_once() -> Iterator[None]:
    """Keys come without Enter and are not echoed; afterwards the terminal is as it was."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    try:
        tty.setcbreak(descriptor, termios.TCSANOW)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSANOW, before)


@contextmanager
def _whole_lines() -> Iterator[None]:
    """Inside `_keys_at_once`: a line with echo and erase, until Enter."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    line_by_line = termios.tcgetattr(descriptor)
    line_by_line[3] |= termios.ICANON | termios.ECHO
    try:
        termios.tcsetattr(descriptor, termios.TCSANOW, line_by_line)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSANOW, before)
