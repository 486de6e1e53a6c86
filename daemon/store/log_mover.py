"""Moves the log into the database beside the writer, so that no write waits while that is done.

SQLite would do it inside whichever commit fills the log: one call in sixty then waited for some
hundred pages and another fsync. Here a thread of its own does it, by a connection of its own, which
holds nobody up; what is committed meanwhile is moved the next time. If it fails, or cannot keep up,
nothing is lost: the writer's own commits move a log that has become large (`LOG_PAGES` of the
engine). Raises nothing.
"""

import queue
import threading
from typing import Final

import structlog
from sqlalchemy import Engine

from daemon.store.engine import move_log

_log = structlog.get_logger("stockade")

EVERY: Final = 64
"""Writes, each of some twelve pages: as often as SQLite would, left to itself."""


class LogMover:
    """Begun and ended by the writer, and told by its thread of what was committed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._written = 0
        self._due: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="store-log", daemon=True)

    def begin(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def end(self) -> None:
        """Ends it; returns when nothing of it is under way."""
        if self._thread.is_alive():
            self._due.put(False)
            self._thread.join()

    def wrote(self, operations: int) -> None:
        """So many are in the log now."""
        self._written += operations
        if self._written >= EVERY:
            self._written = 0
            if self._due.empty():
                self._due.put(True)

    def _run(self) -> None:
        while self._due.get():
            try:
                move_log(self._engine)
            except Exception as error:  # noqa: BLE001 - the writer does it, or meets the same fault
                _log.debug("store.log_not_moved", error=type(error).__name__)
