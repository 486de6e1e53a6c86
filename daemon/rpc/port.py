"""The daemon's port: whose its connections are, and which are ended so that others can come.

The gate says whose each is when it asks for something. What the kernel has is looked at once a
second, more often while there are many: so whoever holds some and says nothing is known too.
A principal that has as many as it may is refused on the next (`TOO_MANY_CONNECTIONS`), and what
`held_connections` finds too much is shut down. The local device's own socket is not counted, and
is for nobody else: that way in is always free. Raises `Exhausted` and `Refused`.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from typing import Final

import anyio
import anyio.to_thread
import structlog

from daemon.errors import SOON_SECONDS, Exhausted, Refused
from daemon.principal import Principal
from daemon.rpc import sockets
from daemon.rpc.held_connections import Bounds, HeldConnections, Holder
from daemon.source import LEFT, plain_peer
from daemon.ticks import tick

_log = structlog.get_logger("stockade.port")

# While there are few.
CALM_SECONDS: Final = 1.0
PERIOD_SECONDS: Final = 0.25
# While there are many, and of the time that looking takes no more than so much of a core.
HURRY_SECONDS: Final = 0.1
REST: Final = 4
WHYS: Final = ("SILENT", "STRANGERS", "CROWDED")
_BY_THE_PORT: Final = ("ipv4:", "ipv6:")

Alarm = Callable[[str, str], None]
Serving = Callable[[], Collection[str]]


class Port:
    """See the module. `alarm` hears of who held too much: a principal or a source, and what.

    `serving` gives the origins of the requests that are being served.
    """

    def __init__(
        self, most: int, of_principal: int, local: str, alarm: Alarm, serving: Serving
    ) -> None:
        self.most = most
        bounds = Bounds.within(most, of_principal)
        self._held = HeldConnections(bounds, lambda: {plain_peer(one) for one in serving()})
        self._local = f"device/{local}"
        self._alarm = alarm
        self._ports: frozenset[int] = frozenset()
        self._found = sockets.NONE
        self._looking = anyio.Lock()
        self._one = anyio.CapacityLimiter(1)
        self._next_look = 0.0
        self._ending: frozenset[int] = frozenset()
        self.ended: Counter[str] = Counter(dict.fromkeys((*WHYS, "REFUSED"), 0))

    @property
    def open(self) -> Mapping[str, int]:
        """How many there are: of principals, and of those who have not said who they are."""
        strangers = self._held.strangers
        return {"principals": len(self._held) - strangers, "strangers": strangers}

    @property
    def of_principal(self) -> int:
        """How many one principal may have."""
        return self._held.bounds.of_principal

    def listens(self, ports: Collection[int]) -> None:
        """These are its numbers; before, no connection is looked for."""
        self._ports = frozenset(ports)

    def knows(self, origin: str, principal: Principal) -> bool:
        """Whether that connection was let in before as theirs."""
        return self._held.used(plain_peer(origin), principal.counted_as, time.monotonic())

    async def let_in(self, origin: str, principal: Principal) -> None:
        """The first request of a connection, with whom it turned out to be; raises."""
        if origin == LEFT:
            return  # it holds nothing, and the gate refuses it
        if not origin.startswith(_BY_THE_PORT):
            self._own(principal)
            return
        peer = plain_peer(origin)
        holder = Holder(principal.counted_as, principal.device_id, str(principal))
        if self._held.name(peer, holder, time.monotonic()):
            return
        # Some of them may have ended since the last look.
        await self._look()
        if self._held.name(peer, holder, time.monotonic()):
            return
        self.ended["REFUSED"] += 1
        most = self.of_principal
        self._alarm(holder.name, f"has {most} connections open, and asks for more")
        raise Exhausted(
            f"{most} connections of {principal.shown} are open",
            code="TOO_MANY_CONNECTIONS",
            fix="use one for many requests, or close some; rates.open_connections is the limit",
            retry_seconds=SOON_SECONDS,
        )

    def unknown(self, origin: str) -> None:
        """A request came by that connection, and its certificate names nobody."""
        if origin.startswith(_BY_THE_PORT):
            self._held.unknown(plain_peer(origin), time.monotonic())

    def _own(self, principal: Principal) -> None:
        if str(principal) != self._local:
            raise Refused(
                "this socket is for the device of the daemon's machine alone",
                code="NOT_THE_LOCAL_DEVICE",
                fix="connect to the daemon's address",
            )

    async def keep(self) -> None:
        """Looks, and ends what is too much, until cancelled."""
        while True:
            await tick(self._pause)
            await self._look()
            self._end_surplus()

    @property
    def _pause(self) -> float:
        """How long until the next look."""
        many = len(self._held)
        if many > self.most // 2:
            return HURRY_SECONDS
        return PERIOD_SECONDS if many > self.most // 8 else CALM_SECONDS

    async def _look(self) -> None:
        async with self._looking:
            looked = time.monotonic()
            if looked < self._next_look:
                return
            before, ports = self._found, self._ports
            try:
                self._found = await anyio.to_thread.run_sync(
                    lambda: sockets.find(ports, before), limiter=self._one
                )
            except OSError as error:  # not a descriptor is left to look with: the next time
                _log.warning("port.not_looked_at", reason=error.strerror)
                return
            now = time.monotonic()
            self._next_look = now + min(REST * (now - looked), PERIOD_SECONDS)
            # What was shut down is there until gRPC has let go of it.
            there = self._found.by_peer.items()
            self._ending &= self._found.descriptors.keys()
            left = {peer: number for peer, number in there if number not in self._ending}
            self._held.found(left, looked, now)

    def _end_surplus(self) -> None:
        found = self._held.surplus(time.monotonic())
        surplus = [one for one in found if one.socket and one.socket not in self._ending]
        for one in surplus:
            sockets.end(one.socket, self._found)
            self.ended[one.why] += 1
        self._ending |= {one.socket for one in surplus}
        for why, count in Counter(one.why for one in surplus).items():
            _log.warning("port.ended", why=why, connections=count)
        for whose in {one.whose for one in surplus if one.why != "SILENT"}:
            self._alarm(whose, "held connections that others need: some were ended")
