"""Seconds of work in a thread, while calls go on in the event loop of the same interpreter.

Two things would hold calls up. A thread keeps the interpreter until another has asked for it for
5 ms, at every turn: so it is made to give way sooner, and long work is done in pieces, with a rest
after each in which nobody has to ask. And the collector stops everything to look at every object
there is, 50 ms with ten thousand policies: so it looks at the young ones only while they are made,
and never again at those that stay. Raises nothing of its own.
"""

import gc
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

REST_SECONDS = 0.0005
TURN_SECONDS = 0.0005

_NEVER = 1_000_000_000
_lock = threading.Lock()
_under_way = 0
_usual = gc.get_threshold()
_usual_turn = sys.getswitchinterval()


def rest() -> None:
    """Lets the event loop run; for between two pieces of work of less than a millisecond."""
    time.sleep(REST_SECONDS)


@contextmanager
def beside_calls() -> Iterator[None]:
    """Around the work. What is made inside is taken to stay."""
    global _under_way, _usual, _usual_turn
    with _lock:
        if not _under_way:
            _usual, _usual_turn = gc.get_threshold(), sys.getswitchinterval()
            gc.set_threshold(_usual[0], _usual[1], _NEVER)
            sys.setswitchinterval(TURN_SECONDS)
        _under_way += 1
    try:
        yield
    finally:
        with _lock:
            _under_way -= 1
            if not _under_way:
                # Whatever is garbage in a circle at this moment is never freed. That is little, and
                # only at a change of policies, tools or devices; what is not, is freed as ever.
                gc.freeze()
                gc.set_threshold(*_usual)
                sys.setswitchinterval(_usual_turn)
