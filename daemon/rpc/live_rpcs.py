"""The RPCs being served, and when each has to end whatever its client and the service want.

A stream may outlive the moment it was let in by days. Trusted so that it does not outlive the right
to be there: it is cut when its device or certificate is revoked, and when its certificate has ended
and the same key has no later one (docs/adr/0011). Nor has one principal more streams open than its
share: each costs memory, and some have no end. Raises `Exhausted` for that alone.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

import anyio

from daemon.errors import SOON_SECONDS, Exhausted, Fault, Unauthenticated
from daemon.principal import Principal

# How long a stream can go on after its certificate has ended.
SWEEP_SECONDS = 0.5
# How long whoever cuts RPCs waits for their clients to be told.
TOLD_SECONDS = 0.2


@dataclass(eq=False, slots=True)
class LiveRpc:
    """One RPC being served."""

    principal: Principal
    good_until_ms: int
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    fault: Fault | None = None
    left: asyncio.Event = field(default_factory=asyncio.Event)

    def cut(self, fault: Fault) -> None:
        """Ends it; the first reason stays."""
        if self.fault is None:
            self.fault = fault
            self.scope.cancel()


# Set by the gate, for the time of one RPC.
_current: ContextVar[LiveRpc] = ContextVar("rpc")


def current_rpc() -> LiveRpc:
    """The RPC being served; LookupError outside of one."""
    return _current.get()


def set_current_rpc(rpc: LiveRpc) -> None:
    """For the gate alone."""
    _current.set(rpc)


class LiveRpcs:
    """All of them."""

    def __init__(self, most_streams: int) -> None:
        self._most_streams = most_streams
        self._rpcs: set[LiveRpc] = set()
        self._streams: Counter[str] = Counter()

    def hold(self, principal: Principal) -> LiveRpc:
        """An RPC that is let in; whoever holds it has to `release` it."""
        rpc = LiveRpc(principal, principal.not_after_ms)
        self._rpcs.add(rpc)
        return rpc

    def release(self, rpc: LiveRpc) -> None:
        """Its client was told how it ended."""
        self._rpcs.discard(rpc)
        rpc.left.set()

    @property
    def origins(self) -> frozenset[str]:
        """By which connections they came."""
        return frozenset(rpc.principal.origin for rpc in self._rpcs)

    @contextmanager
    def stream(self, principal: Principal) -> Iterator[None]:
        """While a stream of a principal is open; raises `Exhausted`."""
        whose = principal.counted_as
        if self._streams[whose] >= self._most_streams:
            raise Exhausted(
                f"{self._most_streams} streams of {principal.shown} are open",
                code="TOO_MANY_STREAMS",
                fix="end some first (calls can be detached); the limit is rates.open_streams",
                retry_seconds=SOON_SECONDS,
            )
        self._streams[whose] += 1
        try:
            yield
        finally:
            self._streams[whose] -= 1
            if not self._streams[whose]:
                del self._streams[whose]

    def cut(self, which: Callable[[Principal], bool], fault: Unauthenticated) -> int:
        """Ends all RPCs of these principals now; how many there were."""
        found = [rpc for rpc in self._rpcs if which(rpc.principal)]
        for rpc in found:
            rpc.cut(fault)
        return len(found)

    async def left(self, which: Callable[[Principal], bool]) -> None:
        """Returns once these principals have no RPC any more; or soon, for one may be the asker's.

        What a cut brings with it can take a while, and would hold up the telling.
        """
        with anyio.move_on_after(TOLD_SECONDS):
            for rpc in [rpc for rpc in self._rpcs if which(rpc.principal)]:
                await rpc.left.wait()

    def sweep(
        self, now_ms: int, good_until_ms: Callable[[Principal], int], *, every: bool = False
    ) -> None:
        """Asks again about the RPCs whose time is over (or `every` one), and cuts those that end.

        `good_until_ms` raises `Unauthenticated` for a principal that may not be here any more.
        """
        for rpc in [rpc for rpc in self._rpcs if every or rpc.good_until_ms < now_ms]:
            try:
                rpc.good_until_ms = good_until_ms(rpc.principal)
            except Unauthenticated as fault:
                rpc.cut(fault)
