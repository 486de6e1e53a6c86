"""The console script `stockade`: what a signal finds before there is a command; then the command.

Loading all commands takes a while, and Ctrl-C may come at any moment of it: nothing has been done
then, and nothing is said but the status. Raises `SystemExit`.
"""

import io
import os
import signal
import sys
from types import FrameType

EXIT_INTERRUPTED = 130


def main() -> None:
    """The console script."""
    asked_for = signal.getsignal(signal.SIGINT)
    if asked_for is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    from stockade.cli.app import run

    if isinstance(sys.stdout, io.TextIOWrapper):
        # Others choose what is shown: one letter that a terminal has not must not end the showing.
        sys.stdout.reconfigure(errors="backslashreplace")
    signal.signal(signal.SIGINT, asked_for)
    status = run(sys.argv[1:])
    if asked_for is signal.default_int_handler:
        # All is done and said. What may hang now is a library's thread.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(status)


def _leave(_number: int, _frame: FrameType | None) -> None:
    """An exception would be raised in a library that is being loaded, and shown as a traceback."""
    os._exit(EXIT_INTERRUPTED)
