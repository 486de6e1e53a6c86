"""Telling a person who does not look: a command of theirs, a desktop notification, the bell.

On the approver's own device, as its user, never through a shell: argv is what the settings say, and
what an agent chose reaches the command only by its environment and standard input, as one line that
has been made safe to show (docs/approvals.md). Arguments of calls are never in it. At most
`AT_ONCE` run, each at most `SECONDS`; what comes meanwhile is told together. Nothing here can harm
a call or the watch: what fails is said, once, and that is all.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING

from stockade.cli.desk_state import Brief, brief_of
from stockade.cli.terminal import UsageError
from stockade.cli.watch_settings import WatchSettings

if TYPE_CHECKING:
    from stockade.v1.approval_pb2 import Approval

SECONDS = 10.0
AT_ONCE = 2
MAX_KNOWN = 100_000


class Notifier:
    """See the module."""

    def __init__(self, settings: WatchSettings) -> None:
        self._settings = settings
        if settings.desktop:
            self._notify_send = _notify_send()
        self._known: dict[str, None] = {}
        self._waiting: deque[tuple[str, str]] = deque()
        self._lock = threading.Lock()
        self._working = 0
        self._failure = ""

    def tell(self, approval: "Approval") -> None:
        """That it waits; once for each."""
        if approval.approval_id in self._known:
            return
        self._known[approval.approval_id] = None
        if len(self._known) > MAX_KNOWN:
            del self._known[next(iter(self._known))]
        if self._settings.bell and sys.stdout.isatty():
            sys.stdout.write("\a")
        if not self._settings.command and not self._settings.desktop:
            return
        with self._lock:
            self._waiting.append((approval.approval_id, summary(brief_of(approval))))
            if self._working >= AT_ONCE:
                return
            self._working += 1
        threading.Thread(target=self._work, daemon=True).start()

    def failure(self) -> str:
        """What failed since this was asked last."""
        with self._lock:
            failure, self._failure = self._failure, ""
        return failure

    def _work(self) -> None:
        while (told := self._next()) is not None:
            approval_id, text = told
            if self._settings.command:
                self._start(list(self._settings.command), approval_id, text)
            if self._settings.desktop:
                self._start([*self._notify_send, markup(text)], approval_id, text)

    def _next(self) -> tuple[str, str] | None:
        """The next to tell; if many wait, the first of them and how many more."""
        with self._lock:
            if not self._waiting:
                self._working -= 1
                return None
            approval_id, text = self._waiting.popleft()
            if len(self._waiting) > AT_ONCE:
                text = f"{text}, and {len(self._waiting)} more"
                self._waiting.clear()
            return approval_id, text

    def _start(self, argv: list[str], approval_id: str, text: str) -> None:
        try:
            problem = _run(argv, approval_id, text)
        except OSError as error:
            problem = error.strerror or "could not be started"
        if problem:
            with self._lock:
                self._failure = f"{argv[0]}: {problem}"


def summary(brief: Brief) -> str:
    """An approval in one line that is safe to show. Nothing of its arguments."""
    if brief.error:
        return f"an approval that contradicts itself waits: {brief.error}"
    return f"{brief.who} asks for {brief.tool} (risk {brief.risk}, tier {brief.tier})"


def markup(text: str) -> str:
    """Notifications may be read as markup; this has none."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _notify_send() -> list[str]:
    found = shutil.which("notify-send")
    if found is None:
        raise UsageError("there is no notify-send", fix="apt-get install libnotify-bin")
    return [found, "--app-name=Stockade", "--", "Stockade: approval"]


def _run(argv: list[str], approval_id: str, text: str) -> str:
    """Starts it and waits; what went wrong, or nothing."""
    told = {"STOCKADE_APPROVAL_ID": approval_id, "STOCKADE_SUMMARY": text}
    with subprocess.Popen(  # noqa: S603 - argv is the person's own, from their settings
        argv,
        env={**os.environ, **told},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            process.communicate(f"{text}\n".encode(), timeout=SECONDS)
        except subprocess.TimeoutExpired:
            return f"ended after {SECONDS:g} seconds"
        finally:
            # With all it started: nothing of a hook outlives its time.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        status = process.returncode
    return f"ended with status {status}" if status else ""
