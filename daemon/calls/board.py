"""Tells watchers of approvals that one has changed. Holds no approvals: those are in the store."""

from collections.abc import AsyncGenerator

import anyio


class Board:
    """A list of who waits for news; news of one approval coalesces, so nobody's list grows."""

    def __init__(self) -> None:
        self._watchers: set[_Watcher] = set()

    def changed(self, approval_id: str) -> None:
        """Notes that an approval is new or has changed."""
        for watcher in self._watchers:
            watcher.news[approval_id] = None
            watcher.event.set()

    async def watch(self) -> AsyncGenerator[tuple[str, ...], None]:
        """The ids of what has changed, in batches, until the watcher goes. The first is empty."""
        watcher = _Watcher()
        self._watchers.add(watcher)
        try:
            # The watcher now reads the store: nothing that changes from here on is missed.
            yield ()
            while True:
                await watcher.event.wait()
                watcher.event = anyio.Event()
                news, watcher.news = tuple(watcher.news), {}
                yield news
        finally:
            self._watchers.discard(watcher)


class _Watcher:
    def __init__(self) -> None:
        self.event = anyio.Event()
        self.news: dict[str, None] = {}
