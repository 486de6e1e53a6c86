"""Noting how far the vault has come, wherever it is noted, one note after the other.

A note that cannot be written is logged and written with the next change: what is noted may be
behind the database and never ahead of it. Reading leaves the vault's `RootError` and OSError.
"""

from collections.abc import Sequence

import anyio
import anyio.to_thread
import structlog

from daemon.vault.mark import Mark, Notebook
from vault.errors import VaultError

_log = structlog.get_logger("stockade.vault")


class Notes:
    """The notebooks of one vault."""

    def __init__(self, notebooks: Sequence[Notebook]) -> None:
        self.notebooks = tuple(notebooks)
        self._lock = anyio.Lock()
        self._last = Mark()

    async def read(self) -> Mark | None:
        """The furthest that was noted anywhere."""
        noted = [await anyio.to_thread.run_sync(one.read) for one in self.notebooks]
        return max((mark for mark in noted if mark), key=lambda mark: mark.count, default=None)

    async def note(self, mark: Mark, *, anyway: bool = False) -> None:
        """Notes a state that is durable in the database; `anyway`: also one that is behind."""
        async with self._lock:
            if mark.count <= self._last.count and not anyway:
                return  # a later change was noted meanwhile
            self._last = mark
            for one in self.notebooks:
                try:
                    await anyio.to_thread.run_sync(one.store, mark)
                except (OSError, VaultError) as error:
                    _log.warning("vault.not_noted", place=str(one), reason=str(error))
