"""A memory that is not larger than it was told: what was used least recently is forgotten.

Trusted by nobody to remember: a miss is always right. Entries have a weight, because one slice may
hold one policy and the next ten thousand. Safe for threads. Raises nothing of its own.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from itertools import islice
from threading import Lock
from typing import Generic, TypeVar

from policy.pace import Pause

_A_FEW = 16

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Bounded(Generic[K, V]):
    """At most `capacity` of weight, or the last entry alone if that is heavier."""

    __slots__ = ("_capacity", "_entries", "_lock", "_weigh", "weight")

    def __init__(self, capacity: int, weigh: Callable[[V], int]) -> None:
        self._capacity = capacity
        self._weigh = weigh
        self._entries: OrderedDict[K, V] = OrderedDict()
        self._lock = Lock()
        self.weight = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: K) -> V | None:
        """What was put under the key, if it is still there."""
        with self._lock:
            found = self._entries.get(key)
            if found is not None:
                self._entries.move_to_end(key)
            return found

    def recent(self, most: int) -> list[K]:
        """The keys that were used last, the very last one first."""
        with self._lock:
            return list(islice(reversed(self._entries), most))

    def put(self, key: K, value: V) -> None:
        """Remembers a value, and forgets others for it."""
        with self._lock:
            if (replaced := self._entries.pop(key, None)) is not None:
                self.weight -= self._weigh(replaced)
            self._entries[key] = value
            self.weight += self._weigh(value)
            while self.weight > self._capacity and len(self._entries) > 1:
                _, forgotten = self._entries.popitem(last=False)
                self.weight -= self._weigh(forgotten)

    def forget(self, pause: Pause) -> None:
        """Forgets everything, a little at a time: what is large takes its time to go."""
        forgotten: list[V] = []
        while self._entries:
            with self._lock:
                forgotten = [self._entries.popitem(last=False)[1] for _ in range(_A_FEW) if self]
                self.weight -= sum(map(self._weigh, forgotten))
            forgotten.clear()
            pause()
