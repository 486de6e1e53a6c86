"""Whether the daemon serves: known to health checks, `status` and monitoring alike.

It does not while receipts cannot be written, the store cannot be read, or a tier that the operator
requires does not work. A store that failed is tried again with a receipt of its recovery, so that
it is not ill for longer than it is. Raises nothing.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence

import anyio
import structlog

from daemon.errors import Fault
from daemon.store import meta
from daemon.store.reader import Reader
from daemon.store.writer import Writer
from daemon.ticks import tick
from policy.risk import Tier
from sandbox.tier import ProbeReport

_log = structlog.get_logger("stockade.health")

PERIOD_SECONDS = 1.0
READ_SECONDS = 5.0
OK = "ok"

Tell = Callable[[bool, str], Awaitable[None]]


class Health:
    """See the module. `tell` is told whenever it changes."""

    def __init__(
        self,
        writer: Writer,
        reader: Reader,
        reports: Mapping[Tier, ProbeReport],
        required: Sequence[Tier],
        tell: Tell,
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._reports = reports
        self._required = required
        self._tell = tell
        self.state = OK

    @property
    def serves(self) -> bool:
        """Whether it does."""
        return self.state == OK

    async def begin(self) -> None:
        """Looks for the first time, and tells what it saw."""
        self.state = await self._look()
        await self._tell(self.serves, self.state)

    async def keep(self) -> None:
        """Looks again, once a second, until cancelled."""
        while True:
            await tick(PERIOD_SECONDS)
            before, self.state = self.state, await self._look()
            if self.state != before:
                _log.warning("health.changed", state=self.state)
                await self._tell(self.serves, self.state)

    async def _look(self) -> str:
        fault: Fault | None = self._writer.fault
        if fault is not None:
            body = {"reason": fault.code}
            fault = await self._failure(
                lambda: self._writer.write(lambda tx: tx.receipt("store.recovered", body))
            )
        if fault is None:
            fault = await self._failure(lambda: self._reader.read(lambda c: meta.get(c, "x")))
        if fault is not None:
            return f"{fault.code}: {fault.message}"
        for tier in self._required:
            if not (report := self._reports[tier]).works:
                missing = ", ".join(one.primitive for one in report.missing)
                return f"TIER_UNAVAILABLE: the {tier.label} tier does not work: {missing}"
        return OK

    @staticmethod
    async def _failure(act: Callable[[], Awaitable[object]]) -> Fault | None:
        try:
            with anyio.fail_after(READ_SECONDS):
                await act()
        except Fault as fault:
            return fault
        except TimeoutError:
            return Fault(f"the store did not answer in {READ_SECONDS:.0f} s")
        return None
