"""The events of one call, for however many watch it.

Everything that is not output is kept. Of the output the last `keep_bytes` are; a publisher of
output waits while the slowest watcher is further behind than that, so a slow reader slows the tool
and never grows the daemon. With nobody watching, the oldest output makes room: a gap that the
chunks' offsets show. Single event loop; no error leaves.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator

from stockade.v1 import call_pb2


class _Watcher:
    """How far one reader has come."""

    __slots__ = ("bytes_taken", "position")

    def __init__(self, bytes_taken: int) -> None:
        self.position = 0
        self.bytes_taken = bytes_taken


class Feed:
    """An append-only sequence of events that ends with `close`."""

    def __init__(self, keep_bytes: int) -> None:
        self._keep_bytes = keep_bytes
        self._events: dict[int, call_pb2.CallEvent] = {}
        self._output: deque[tuple[int, int]] = deque()  # (index, bytes) of the kept output events
        self._next = 0
        self._bytes_published = 0
        self._bytes_kept = 0
        self._watchers: set[_Watcher] = set()
        self._closed = False
        # Made by whoever waits, set and forgotten by whoever has news: mostly nobody waits.
        self._changed: asyncio.Event | None = None
        self._drained = asyncio.Event()

    @property
    def bytes_kept(self) -> int:
        """Bytes of output held now."""
        return self._bytes_kept

    def publish(self, event: call_pb2.CallEvent) -> None:
        """Adds an event that is not output."""
        self._add(event)

    async def publish_output(self, event: call_pb2.CallEvent) -> None:
        """Adds a chunk of output, once every watcher is close enough behind."""
        size = len(event.output.data)
        while self._watchers and self._lag() > max(0, self._keep_bytes - size):
            # Both streams may wait at once: a new event while one waits would forget the other.
            if self._drained.is_set():
                self._drained = asyncio.Event()
            await self._drained.wait()
        self._output.append((self._next, size))
        self._bytes_published += size
        self._bytes_kept += size
        while self._bytes_kept > self._keep_bytes and len(self._output) > 1:
            index, freed = self._output.popleft()
            self._bytes_kept -= freed
            del self._events[index]
        self._add(event)

    def close(self) -> None:
        """Nothing more will come."""
        self._closed = True
        self._announce()

    async def watch(self) -> AsyncGenerator[list[call_pb2.CallEvent], None]:
        """All that is kept, then all that comes, until the end: what is there at one moment.

        Of each list the last alone may be output, so that a reader holds one chunk at a time.
        """
        watcher = _Watcher(self._bytes_published - self._bytes_kept)
        self._watchers.add(watcher)
        try:
            while True:
                while watcher.position < self._next:
                    events = self._from(watcher)
                    if events:
                        yield events
                        watcher.bytes_taken += len(events[-1].output.data)
                        self._drained.set()
                if self._closed:
                    return
                if self._changed is None:
                    self._changed = asyncio.Event()
                await self._changed.wait()
        finally:
            self._watchers.discard(watcher)
            self._drained.set()

    def _from(self, watcher: _Watcher) -> list[call_pb2.CallEvent]:
        """What the watcher has not had yet, up to the first output."""
        events: list[call_pb2.CallEvent] = []
        while watcher.position < self._next:
            event = self._events.get(watcher.position)
            watcher.position += 1
            if event is not None:
                events.append(event)
                if event.HasField("output"):
                    break
        return events

    def _add(self, event: call_pb2.CallEvent) -> None:
        self._events[self._next] = event
        self._next += 1
        self._announce()

    def _announce(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    def _lag(self) -> int:
        return self._bytes_published - min(watcher.bytes_taken for watcher in self._watchers)
