"""Ctrl-C while the daemon is being loaded: it ends at once, with one line and status 130.

Python's own answer is an exception wherever it stands, which here is a library that is just being
imported: shown as a traceback, or swallowed there, and the daemon starts all the same. Nothing has
been written or started by then. Nothing leaves here.
"""

import os
import signal
import sys
from types import FrameType

STATUS = 130


def leave_at_once() -> None:
    """From now on; also for one that came before. `stockade up` holds it back until here."""
    # Whoever ignores it (a shell's background job) goes on to.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def raise_again() -> None:
    """From now on it is an exception: there is something to put in order."""
    if signal.getsignal(signal.SIGINT) is _leave:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def tell(before: str) -> None:
    """Says what was interrupted."""
    sys.stderr.write(f"stockaded: interrupted before {before}\n")
    sys.stderr.flush()


def _leave(_number: int, _frame: FrameType | None) -> None:
    tell("it began")
    os._exit(STATUS)
