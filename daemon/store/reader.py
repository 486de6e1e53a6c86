"""Reads, off the event loop and beside the writer.

Each read is one snapshot: it sees every write that had returned before it began, and nothing of a
later one. It cannot write: its connection is query-only. A read that was cancelled is waited for,
so reads fetch bounded pages. Leaves: StoreFault, and what the function raises.
"""

from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

from anyio import CapacityLimiter, to_thread
from sqlalchemy import Connection, Engine

T = TypeVar("T")

THREADS: Final = 2


class Reader:
    """A small pool of reading threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._limiter = CapacityLimiter(THREADS)

    async def read(self, fn: Callable[[Connection], T]) -> T:
        """What `fn` makes of one snapshot; it must be values, not a cursor."""
        return await to_thread.run_sync(partial(self._read, fn), limiter=self._limiter)

    def _read(self, fn: Callable[[Connection], T]) -> T:
        with self._engine.connect() as connection:
            return fn(connection)
