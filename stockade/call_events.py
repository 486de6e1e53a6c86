"""The stream of one call: each event by itself, however many came in one message."""

from collections import deque
from typing import Any

from stockade.connection import Stream
from stockade.v1 import call_pb2


class CallEvents(Stream[call_pb2.CallEvent]):
    """As `Stream`. None of its events has `earlier` ones."""

    def __init__(self, call: Any, target: str) -> None:
        super().__init__(call, target)
        self._events: deque[call_pb2.CallEvent] = deque()

    def __next__(self) -> call_pb2.CallEvent:
        if not self._events:
            last = super().__next__()
            self._events.extend(last.earlier)
            last.ClearField("earlier")
            self._events.append(last)
        return self._events.popleft()
