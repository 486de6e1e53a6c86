"""The events of one call, for however many watch it.

Everything that is not output is kept. Of the output the last `keep_bytes` are, and no more chunks
than have a size: one of a single byte takes as much memory as one of a thousand. A publisher of
output waits while the slowest watcher is further behind than that, so a slow reader slows the tool
and never grows the daemon. Who may be let go is waited for `patience` seconds in all, over the life
of the call and for all such watchers together: coming again buys no more of the tool's time. With
nobody watching, the oldest output makes room: a gap that the chunks' offsets show. Single event
loop; raises `Exhausted` to a watcher that was let go, and nothing else.
"""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Final

import anyio

from daemon.errors import SOON_SECONDS, Exhausted
from stockade.v1 import call_pb2

PATIENCE_SECONDS: Final = 3.0
# What a chunk takes besides its bytes; and so many there may be however little is kept.
CHUNK_BYTES: Final = 1024
FEWEST_CHUNKS: Final = 64

LetGo = Callable[[Exhausted], None]


class _Watcher:
    """How far one reader has come, and how it is told that nobody waits for it any more."""

    __slots__ = ("bytes_taken", "chunks_taken", "let_go", "position")

    def __init__(self, bytes_taken: int, chunks_taken: int, let_go: LetGo | None) -> None:
        self.position = 0
        self.bytes_taken = bytes_taken
        self.chunks_taken = chunks_taken
        self.let_go = let_go


class Feed:
    """An append-only sequence of events that ends with `close`."""

    def __init__(self, keep_bytes: int, patience: float = PATIENCE_SECONDS) -> None:
        self._keep_bytes = keep_bytes
        self._keep_chunks = max(FEWEST_CHUNKS, keep_bytes // CHUNK_BYTES)
        self._patience = patience
        self._events: dict[int, call_pb2.CallEvent] = {}
        self._output: deque[tuple[int, int]] = deque()  # (index, bytes) of the kept output events
        self._next = 0
        self._bytes_published = 0
        self._chunks_published = 0
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

    @property
    def bytes_held(self) -> int:
        """About how much memory they take."""
        return self._bytes_kept + len(self._output) * CHUNK_BYTES

    def publish(self, event: call_pb2.CallEvent) -> None:
        """Adds an event that is not output."""
        self._add(event)

    async def publish_output(self, event: call_pb2.CallEvent) -> None:
        """Adds a chunk of output, once every watcher is close enough behind."""
        size = len(event.output.data)
        most = max(0, self._keep_bytes - size)
        while any(self._is_behind(watcher, most) for watcher in self._watchers):
            await self._wait_for_the_slow(most)
        self._output.append((self._next, size))
        self._bytes_published += size
        self._chunks_published += 1
        self._bytes_kept += size
        while self._has_too_much():
            index, freed = self._output.popleft()
            self._bytes_kept -= freed
            del self._events[index]
        self._add(event)

    def close(self) -> None:
        """Nothing more will come."""
        self._closed = True
        self._announce()

    async def watch(
        self, let_go: LetGo | None = None
    ) -> AsyncGenerator[list[call_pb2.CallEvent], None]:
        """All that is kept, then all that comes, until the end: what is there at one moment.

        Of each list the last alone may be output, so that a reader holds one chunk at a time.
        With `let_go` the tool waits for this reader only as long as there is patience; then that
        is called, since a reader that takes nothing does not come here to be told.
        """
        bytes_gone = self._bytes_published - self._bytes_kept
        chunks_gone = self._chunks_published - len(self._output)
        watcher = _Watcher(bytes_gone, chunks_gone, let_go)
        self._watchers.add(watcher)
        try:
            while True:
                while watcher.position < self._next:
                    events = self._from(watcher)
                    if events:
                        yield events
                        if events[-1].HasField("output"):
                            watcher.bytes_taken += len(events[-1].output.data)
                            watcher.chunks_taken += 1
                            self._drained.set()
                    if watcher not in self._watchers:
                        raise _too_slow()
                if self._closed:
                    return
                if self._changed is None:
                    self._changed = asyncio.Event()
                await self._changed.wait()
        finally:
            self._watchers.discard(watcher)
            self._drained.set()

    async def _wait_for_the_slow(self, most: int) -> None:
        """Until some watcher has taken something, or those that may be let go have been."""
        mere = [one for one in self._watchers if one.let_go and self._is_behind(one, most)]
        if mere and self._patience <= 0:
            for one in mere:
                self._let_go(one)
            return
        # Both streams may wait at once: a new event while one waits would forget the other.
        if self._drained.is_set():
            self._drained = asyncio.Event()
        began = anyio.current_time()
        with anyio.move_on_after(self._patience if mere else None):
            await self._drained.wait()
        if mere:
            self._patience -= anyio.current_time() - began

    def _let_go(self, watcher: _Watcher) -> None:
        self._watchers.discard(watcher)
        self._drained.set()
        if watcher.let_go is not None:
            watcher.let_go(_too_slow())

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

    def _has_too_much(self) -> bool:
        chunks = len(self._output)
        return chunks > 1 and (self._bytes_kept > self._keep_bytes or chunks > self._keep_chunks)

    def _is_behind(self, watcher: _Watcher, most: int) -> bool:
        """Whether it has so much before it that there is no room for more."""
        if self._chunks_published - watcher.chunks_taken >= self._keep_chunks:
            return True
        return self._bytes_published - watcher.bytes_taken > most


def _too_slow() -> Exhausted:
    return Exhausted(
        "the output was read too slowly, and the tool does not wait for who only watches",
        code="WATCHER_TOO_SLOW",
        fix="watch it again by its id, from what still is kept: `stockade calls watch`",
        retry_seconds=SOON_SECONDS,
    )
