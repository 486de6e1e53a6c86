"""`stockade approvals watch`: which of its forms fits, and the terminal as it was afterwards.

A whole screen and keys at a terminal; lines where there is none, or one that cannot be painted;
JSON that only shows.
"""

import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from stockade.cli import machine
from stockade.cli.answering import is_pending
from stockade.cli.approvals_lines import ByLines
from stockade.cli.desk import AtDesk
from stockade.cli.inbox import Inbox
from stockade.cli.keyboard import keyboard
from stockade.cli.notifying import Notifier
from stockade.cli.screen import screen
from stockade.cli.terminal import note
from stockade.cli.watch_settings import WatchSettings

if TYPE_CHECKING:
    from stockade.client import Client


def watch(client: "Client", settings: WatchSettings, *, as_json: bool) -> int:
    """Runs until the person quits, the input tells it to, or the daemon goes."""
    if as_json:
        return _print_json(client, Notifier(settings))
    notifier = Notifier(settings)
    painted = _can_be_painted()
    inbox = Inbox(client, patient=painted)
    try:
        if painted:
            _at_desk(client, inbox, notifier)
        else:
            ByLines(client, inbox, notifier).run()
    except KeyboardInterrupt:
        note()
    except OSError as error:
        if error.errno != errno.EIO:
            raise
        return 1  # the terminal was closed: there is nobody to tell
    finally:
        inbox.close()
    return 0


def _at_desk(client: "Client", inbox: Inbox, notifier: Notifier) -> None:
    log: list[str] = []
    try:
        with _left_properly(), screen() as painted, keyboard() as keys:
            desk = AtDesk(client, inbox, keys, painted, notifier)
            log = desk.desk.log
            desk.run()
    finally:
        # What was answered stays on the terminal when the screen is gone.
        for line in log:
            note(line)


def _can_be_painted() -> bool:
    terminal = os.environ.get("TERM", "dumb") not in ("", "dumb")
    return terminal and sys.stdin.isatty() and sys.stdout.isatty()


@contextmanager
def _left_properly() -> Iterator[None]:
    """Not stopped in the middle, and ended as by Ctrl-C: a screen is never left behind."""

    def end(*_: object) -> None:
        raise KeyboardInterrupt

    before = {
        number: signal.signal(number, handler)
        for number, handler in (
            (signal.SIGTSTP, signal.SIG_IGN),
            (signal.SIGTERM, end),
            (signal.SIGHUP, end),
        )
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _print_json(client: "Client", notifier: Notifier) -> int:
    with client.watch_approvals() as stream:
        for event in stream:
            if is_pending(event.approval):
                notifier.tell(event.approval)
            machine.emit(event.approval)
    return 0
