"""The approvals that wait, as the daemon's stream tells them, for somebody who also hears keys.

One thread reads the stream and wakes whoever waits on `descriptor`. A daemon that goes away is
waited for when `patient`: it says `Lost`, and begins again from what waits then. What ends the
stream for good (a revoked device) is raised to whoever takes the news.
"""

import os
import queue
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from stockade.errors import DaemonUnreachable, StockadeError, Unavailable
from stockade.v1 import approval_pb2

if TYPE_CHECKING:
    from stockade.client import Client
    from stockade.connection import Stream

AGAIN_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Lost:
    """The daemon is not there: nothing that waited can be answered. It is tried again."""

    error: StockadeError


@dataclass(frozen=True, slots=True)
class Back:
    """It is there again; what waits comes after this."""


News = approval_pb2.Approval | Lost | Back


class Inbox:
    """See the module."""

    def __init__(self, client: "Client", *, patient: bool) -> None:
        self._client = client
        self._patient = patient
        self._items: queue.SimpleQueue[News | StockadeError] = queue.SimpleQueue()
        self._closed = threading.Event()
        self._stream: Stream[approval_pb2.ApprovalEvent] | None = None
        self.descriptor, self._bell = os.pipe()
        os.set_blocking(self.descriptor, False)
        os.set_blocking(self._bell, False)
        threading.Thread(target=self._read, daemon=True).start()

    def take(self) -> Iterator[News]:
        """What has come since; raises what ended the stream."""
        self._hush()
        while True:
            try:
                item = self._items.get_nowait()
            except queue.Empty:
                return
            if isinstance(item, StockadeError):
                raise item
            yield item

    def close(self) -> None:
        """Tells the daemon that nobody listens."""
        self._closed.set()
        if self._stream is not None:
            self._stream.cancel()

    def _read(self) -> None:
        error = self._follow()
        while self._patient and _comes_back(error) and not self._closed.is_set():
            self._put(Lost(error))
            self._closed.wait(AGAIN_SECONDS)
            try:
                self._client.list_approvals(page_size=1)
            except StockadeError as again:
                error = again
                continue
            self._put(Back())
            error = self._follow()
        self._put(error)

    def _follow(self) -> StockadeError:
        """The stream until its end, and what ended it."""
        try:
            with self._client.watch_approvals() as self._stream:
                for event in self._stream:
                    self._put(event.approval)
        except StockadeError as error:
            return error
        return StockadeError("the daemon ended the watch", reason="STREAM_CUT")

    def _put(self, item: News | StockadeError) -> None:
        self._items.put(item)
        with suppress(BlockingIOError):  # full: it rings already
            os.write(self._bell, b"!")

    def _hush(self) -> None:
        with suppress(BlockingIOError):
            while os.read(self.descriptor, 4096):
                pass


def _comes_back(error: StockadeError) -> bool:
    """A daemon that is stopped or started again; not one that refuses this device."""
    gone = isinstance(error, DaemonUnreachable | Unavailable) or error.reason == "STREAM_CUT"
    return gone and error.reason != "HANDSHAKE_FAILED"
