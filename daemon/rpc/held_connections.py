"""Who holds which connections of the daemon's port, and which of them have to go. Pure.

Trusted so that nobody keeps others out: a principal has so many and no more; who has not shown one
yet has a time, and so many from one source; and where all together are many, whoever has most loses
first: those that serve no request before those that do. Always some of the port's are left for
whoever comes next. Raises nothing: what is too much is an answer.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from daemon.source import source_of_peer

# More than a handshake may take (`HANDSHAKE_MILLISECONDS`), and a request after it.
STRANGER_SECONDS: Final = 15.0
MOST_STRANGERS_OF_A_SOURCE: Final = 1024


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many there may be: of one principal, one source's strangers, all strangers, all named."""

    of_principal: int
    of_source: int
    strangers: int
    named: int

    @classmethod
    def within(cls, most: int, of_principal: int) -> "Bounds":
        """Shares of what gRPC accepts at most: a quarter of that nobody can hold for long."""
        strangers, named = max(most // 4, 1), max(most // 2, 1)
        return cls(
            of_principal=max(min(of_principal, named // 2), 1),
            of_source=max(min(MOST_STRANGERS_OF_A_SOURCE, strangers // 2), 1),
            strangers=strangers,
            named=named,
        )


@dataclass(frozen=True, slots=True)
class Holder:
    """Whose a connection is: how it is counted, its device, and the name people know."""

    counted_as: str
    device: str
    name: str


@dataclass(eq=False, slots=True)
class _Held:
    """One connection. `socket` is the kernel's number of it, or 0 until it was looked for."""

    source: str
    since: float
    used: float
    socket: int = 0
    holder: Holder | None = None


class _Own(NamedTuple):
    """A connection of a device, in the order in which it can do without them."""

    serves: bool
    used: float
    peer: str
    socket: int
    name: str


@dataclass(frozen=True, slots=True)
class Surplus:
    """A connection that has to go, why, and whose it is: a principal, or a source."""

    peer: str
    socket: int
    why: str
    whose: str


class HeldConnections:
    """See the module. Peers are written as gRPC writes them: "ipv4:192.0.2.1:1234".

    `serving` gives those by which a request is being served: a long stream began long ago.
    """

    def __init__(self, bounds: Bounds, serving: Callable[[], Collection[str]] = frozenset) -> None:
        self.bounds = bounds
        self._serving = serving
        self._held: dict[str, _Held] = {}
        self._of: Counter[str] = Counter()
        # Those without a holder, in the order in which their time began.
        self._strangers: dict[str, _Held] = {}

    def __len__(self) -> int:
        return len(self._held)

    @property
    def strangers(self) -> int:
        """Those that have not shown a principal."""
        return len(self._strangers)

    def of(self, holder: Holder) -> int:
        """How many are a principal's, or those of a device's agents together."""
        return self._of[holder.counted_as]

    def used(self, peer: str, counted_as: str, now: float) -> bool:
        """Whether that connection is known as theirs already; it is used now."""
        held = self._held.get(peer)
        if held is None or held.holder is None or held.holder.counted_as != counted_as:
            return False
        held.used = now
        return True

    def name(self, peer: str, holder: Holder, now: float) -> bool:
        """A connection has shown whose it is; False if they have as many as they may."""
        held = self._held.get(peer) or self._comes(peer, now)
        if held.holder is not None:
            self._estrange(peer, held, now)
        if self._of[holder.counted_as] >= self.bounds.of_principal:
            return False
        del self._strangers[peer]
        held.holder, held.used = holder, now
        self._of[holder.counted_as] += 1
        return True

    def unknown(self, peer: str, now: float) -> None:
        """A connection asked, and is nobody's (any more): its time begins again."""
        self._estrange(peer, self._held.get(peer) or self._comes(peer, now), now)

    def found(self, there: Mapping[str, int], looked: float, now: float) -> None:
        """What the kernel had from `looked` to `now`, by peer: the number of each one's socket."""
        for peer, held in list(self._held.items()):
            if peer not in there:
                # One that came and spoke meanwhile was not to be seen yet.
                if held.socket or held.used < looked:
                    self._drop(peer)
            elif held.socket and held.socket != there[peer]:
                self._drop(peer)  # another one, from the same port
        for peer, socket in there.items():
            (self._held.get(peer) or self._comes(peer, now)).socket = socket

    def surplus(self, now: float) -> Iterator[Surplus]:
        """Those that have to go."""
        yield from self._estranged(now)
        yield from self._crowding()

    def _estranged(self, now: float) -> Iterator[Surplus]:
        kept, of_source = 0, Counter[str]()
        # The oldest go first: whoever is about to say a name has just come.
        for peer, held in reversed(self._strangers.items()):
            if now - held.since > STRANGER_SECONDS:
                why = "SILENT"
            elif of_source[held.source] >= self.bounds.of_source or kept >= self.bounds.strangers:
                why = "STRANGERS"
            else:
                of_source[held.source] += 1
                kept += 1
                continue
            yield Surplus(peer, held.socket, why, held.source)

    def _crowding(self) -> Iterator[Surplus]:
        over = self._of.total() - self.bounds.named
        if over <= 0:
            return
        of_device: dict[str, list[_Own]] = {}
        serving = self._serving()
        for peer, held in self._held.items():
            if (whose := held.holder) is not None:
                own = _Own(peer in serving, held.used, peer, held.socket, whose.name)
                of_device.setdefault(whose.device, []).append(own)
        share = _share(Counter({device: len(all_) for device, all_ in of_device.items()}), over)
        surplus, last = list[_Own](), list[_Own]()
        for all_ in of_device.values():
            if len(all_) > share:
                *more, one = sorted(all_)[: len(all_) - share]
                surplus += more
                last.append(one)
        # Of those who have one more than the share not all lose it: who needs it least.
        surplus += sorted(last)[: over - len(surplus)]
        for one in surplus:
            yield Surplus(one.peer, one.socket, "CROWDED", one.name)

    def _comes(self, peer: str, now: float) -> _Held:
        held = self._held[peer] = _Held(source_of_peer(peer), now, now)
        self._strangers[peer] = held
        return held

    def _estrange(self, peer: str, held: _Held, now: float) -> None:
        """It is nobody's, from now on."""
        self._unname(peer, held)
        self._strangers[peer] = held
        held.since = now

    def _unname(self, peer: str, held: _Held) -> None:
        self._strangers.pop(peer, None)
        if held.holder is None:
            return
        self._of[held.holder.counted_as] -= 1
        if not self._of[held.holder.counted_as]:
            del self._of[held.holder.counted_as]
        held.holder = None

    def _drop(self, peer: str) -> None:
        self._unname(peer, self._held.pop(peer))


def _share(have: Counter[str], over: int) -> int:
    """So many each device may keep, that `over` go in all: those with the most lose first."""
    share = max(have.values())
    while sum(max(0, count - share) for count in have.values()) < over:
        share -= 1
    return share
