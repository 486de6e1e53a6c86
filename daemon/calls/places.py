"""The places among the running, given in turn: to who has the fewest, and has waited longest.

Whoever asks for much at once waits for its own calls, not everybody for them. Trusted never to give
more places than there are, none twice, and one to everybody that waits long enough. A device and
its agents are one asker. Belongs to one event loop; leaves `take`: cancellation.
"""

from collections import Counter, OrderedDict
from collections.abc import Hashable

import anyio


class Places:
    """So many places; each is held by one call."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._held: dict[str, Hashable] = {}
        self._of: Counter[Hashable] = Counter()  # how many each asker holds
        # The askers that wait, the one served longest ago first; the calls of each, oldest first.
        self._waiting: OrderedDict[Hashable, OrderedDict[str, anyio.Event]] = OrderedDict()

    def holds(self, call: str) -> bool:
        """Whether the call has a place."""
        return call in self._held

    def take_now(self, call: str, asker: Hashable) -> bool:
        """A place, if one is free and nobody waits."""
        if self._waiting or len(self._held) >= self._total or call in self._held:
            return False
        self._give(call, asker)
        return True

    async def take(self, call: str, asker: Hashable) -> None:
        """A place, when it is this call's turn."""
        if self.take_now(call, asker):
            return
        turn = self._waiting.setdefault(asker, OrderedDict())[call] = anyio.Event()
        try:
            await turn.wait()
        except BaseException:
            if self.holds(call):
                self.leave(call)
            else:
                self._withdraw(call, asker)
            raise

    def leave(self, call: str) -> None:
        """Give the place back, to whose turn it is; also where there was none."""
        if call not in self._held:
            return
        asker = self._held.pop(call)
        self._of[asker] -= 1
        if not self._of[asker]:
            del self._of[asker]
        if self._waiting:
            first = min(self._waiting, key=lambda one: self._of[one])
            after, turn = self._waiting[first].popitem(last=False)
            self._waiting.move_to_end(first)
            self._tidy(first)
            self._give(after, first)
            turn.set()

    def _give(self, call: str, asker: Hashable) -> None:
        self._held[call] = asker
        self._of[asker] += 1

    def _withdraw(self, call: str, asker: Hashable) -> None:
        del self._waiting[asker][call]
        self._tidy(asker)

    def _tidy(self, asker: Hashable) -> None:
        if not self._waiting[asker]:
            del self._waiting[asker]
