"""A line of alerts that wait for one way out: bounded, in order, one try at a time.

Trusted to hold up no call and no shutdown: what cannot be delivered yet waits and is tried again
with ever longer rests; when the line is full the least grave and oldest goes, which is logged.
Raises nothing.
"""

from typing import Protocol

import anyio
import structlog

from daemon.alerts.rules import Alert

_log = structlog.get_logger("stockade.alerts")

MOST_WAITING = 256
FIRST_REST_SECONDS, LONGEST_REST_SECONDS = 1.0, 300.0


class Way(Protocol):
    """One way out."""

    @property
    def place(self) -> str:
        """What the log calls it; nothing in it is secret."""

    async def deliver(self, body: bytes) -> None:
        """Returns once it was taken; OSError if it was not. May be cancelled at any time."""


class Line:
    """See the module. Belongs to the event loop."""

    def __init__(self, way: Way, chain: str) -> None:
        self._way = way
        self._chain = chain
        self._waiting: list[Alert] = []
        self._arrived = anyio.Event()

    def put(self, alert: Alert) -> None:
        """At the end of the line."""
        self._waiting.append(alert)
        bound(self._waiting, MOST_WAITING, self._way.place)
        self._arrived.set()

    async def keep(self) -> None:
        """Delivers, one after the other, until cancelled."""
        rest = FIRST_REST_SECONDS
        while True:
            if not self._waiting:
                self._arrived = anyio.Event()
                await self._arrived.wait()
            alert = self._waiting[0]
            if await self._delivered(alert):
                rest = FIRST_REST_SECONDS
                if alert in self._waiting:
                    self._waiting.remove(alert)
                continue
            await anyio.sleep(rest)
            rest = min(2 * rest, LONGEST_REST_SECONDS)

    async def _delivered(self, alert: Alert) -> bool:
        try:
            await self._way.deliver(alert.encode(self._chain))
        except OSError as error:
            _log.warning(
                "alert.undelivered", rule=alert.rule, place=self._way.place, reason=error.strerror
            )
            return False
        return True


def bound(waiting: list[Alert], most: int, place: str) -> None:
    """Takes the least grave and oldest out of what is too long."""
    if len(waiting) > most:
        gone = min(waiting, key=lambda one: one.severity)
        waiting.remove(gone)
        _log.error("alert.dropped", rule=gone.rule, receipt=gone.receipt, place=place)
