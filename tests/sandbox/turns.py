"""How many chunks of output come between two turns of whoever else is on the event loop."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import anyio.lowlevel


class Turns:
    """Of one reader; `most` is how many it took at once."""

    def __init__(self) -> None:
        self.count = self.most = self._since = 0

    def one_more(self) -> None:
        """The reader took one."""
        self.count += 1
        self._since += 1
        self.most = max(self.most, self._since)

    @asynccontextmanager
    async def others(self) -> AsyncIterator[None]:
        """Somebody else who wants every turn there is."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._turn)
            yield
            group.cancel_scope.cancel()

    async def _turn(self) -> None:
        while True:
            self._since = 0
            await anyio.lowlevel.checkpoint()
