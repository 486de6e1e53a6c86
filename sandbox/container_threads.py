"""What a thread does in an engine for somebody who may be gone before it is done.

An engine that hangs keeps a thread for as long as a request may take, and nobody is to wait for it
so long. Trusted that what the thread made then has one owner, who ends it. Raises `BoxError` into a
thread that nobody waits for any more.
"""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from sandbox.box import Box, BoxError

T = TypeVar("T")


class Task(Generic[T]):
    """One change: either it is left before it began, and never begins, or it comes to its end."""

    def __init__(self, change: Callable[[], T]) -> None:
        self._change = change
        self._lock = threading.Lock()
        self._begun = self._left = False
        self.over = False

    def __call__(self) -> T:
        """In the thread."""
        with self._lock:
            if self._left:
                raise BoxError("nobody wants it any more")
            self._begun = True
        try:
            return self._change()
        finally:
            self.over = True

    def leave(self) -> bool:
        """Nobody waits for it from now on; whether it is under way."""
        with self._lock:
            self._left = True
            return self._begun and not self.over


class Owner:
    """Of a box that a thread makes for somebody who may be gone when it is made."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._box: Box | None = None
        self._gone = False

    def given(self, box: Box, end: Callable[[Box], None]) -> Box:
        """Hand it over, or end it if nobody is there any more."""
        with self._lock:
            self._box = box
            if not self._gone:
                return box
        end(box)
        raise BoxError("nobody wants it any more")

    def gone(self) -> Box | None:
        """Nobody is there from now on; the box that was handed over, if it was."""
        with self._lock:
            self._gone = True
            return self._box
