"""How long a tool that was a bomb rests before its caller's next run of it.

To end a run that a limit has killed, and to begin the next, costs others more than most runs do:
called again and again it is a bomb of its own. So the tool rests for that caller, twice as long
each time; and until a run of it has ended otherwise, they begin one after another, as far apart.
Other callers, and other tools of this one, are not held up. Trusted to give everybody a turn,
the first that came first. Belongs to one event loop; leaves `turn`: cancellation.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

import anyio

_DOUBLINGS = 4
_MOST = 1024
_FORGOTTEN_SECONDS = 60.0


@dataclass(slots=True)
class _Rest:
    """How many runs in a row a limit has killed, and until when there is none."""

    killed: int = 0
    until: float = 0.0
    waiting: int = 0
    door: anyio.Lock = field(default_factory=anyio.Lock)
    forgiven: anyio.Event = field(default_factory=anyio.Event)


@dataclass(frozen=True, slots=True)
class Turn:
    """That a run may begin, and after how many kills of which rest that was said."""

    rest: _Rest | None
    killed: int


class Rests:
    """Of every caller and tool. `seconds` is the first rest; 0: nothing rests."""

    def __init__(self, seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds, self._clock = seconds, clock
        self._of: OrderedDict[Hashable, _Rest] = OrderedDict()  # killed last, last

    def killed(self, who: Hashable) -> None:
        """A limit has killed a run."""
        if not self._seconds:
            return
        rest = self._of.setdefault(who, _Rest())
        self._of.move_to_end(who)
        rest.killed += 1
        rest.until = self._clock() + self._length(rest)
        self._tidy()

    def ended_well(self, who: Hashable) -> None:
        """A run came to an end of its own, whatever that was."""
        rest = self._of.pop(who, None)
        if rest is not None:
            rest.forgiven.set()

    def may_begin(self, who: Hashable) -> bool:
        """Whether a run may begin without a turn."""
        return who not in self._of

    async def turn(self, who: Hashable) -> Turn:
        """Wait until a run may begin; what `holds` needs to know."""
        rest = self._of.get(who)
        if rest is None:
            return Turn(None, 0)
        rest.waiting += 1
        try:
            async with rest.door:
                while (left := rest.until - self._clock()) > 0 and not rest.forgiven.is_set():
                    with anyio.move_on_after(left):
                        await rest.forgiven.wait()
                rest.until = max(rest.until, self._clock() + self._length(rest))
                return Turn(rest, rest.killed)
        finally:
            rest.waiting -= 1

    def holds(self, who: Hashable, turn: Turn) -> bool:
        """Whether no run was killed since that turn was given."""
        rest = self._of.get(who)
        return rest is None or (rest is turn.rest and rest.killed <= turn.killed)

    def _length(self, rest: _Rest) -> float:
        return float(self._seconds * 2 ** min(rest.killed - 1, _DOUBLINGS))

    def _tidy(self) -> None:
        """Forgets what has long rested, and the oldest where there are too many."""
        over = len(self._of) - _MOST
        for number, (who, rest) in enumerate(list(self._of.items())[:-1]):
            past = self._clock() - rest.until > _FORGOTTEN_SECONDS
            if not rest.waiting and (past or number < over):
                del self._of[who]
