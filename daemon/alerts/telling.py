"""Alerts are told: to the log at once, to each way out that is configured, and to reactions.

Trusted to hold up no call: what takes time waits in a bounded line of its own. Raises nothing.
"""

from collections.abc import Callable, Sequence

import anyio
import structlog

from daemon.alerts.line import Line
from daemon.alerts.rules import Alert, Rules, Severity
from ledger.chain import Entry

_log = structlog.get_logger("stockade.alerts")


class Alerts:
    """See the module. Belongs to the event loop."""

    def __init__(
        self,
        rules: Rules,
        least: Severity,
        lines: Sequence[Line],
        now_ms: Callable[[], int],
    ) -> None:
        self._rules = rules
        self._least = least
        self._lines = lines
        self._now_ms = now_ms
        self._react: Callable[[Alert], None] | None = None

    def react(self, reaction: Callable[[Alert], None]) -> None:
        """From now on this is told of every alert too, the least grave as well."""
        self._react = reaction

    def recorded(self, entries: Sequence[Entry]) -> None:
        """Receipts became durable."""
        for entry in entries:
            for alert in self._rules.see(entry):
                self._tell(alert)

    def health(self, state: str, *, serves: bool) -> None:
        """Whether it serves has changed: no receipt says so while none can be written."""
        severity = Severity.INFO if serves else Severity.CRITICAL
        rule = "serving" if serves else "not_serving"
        self._tell(Alert(rule, severity, "daemon", state, self._now_ms()))

    def held(self, whose: str, said: str) -> None:
        """A principal or a source holds more of the port than it may: there is no receipt of it."""
        now = self._now_ms()
        if self._rules.is_news("connections_held", whose, now):
            self._tell(Alert("connections_held", Severity.WARNING, whose, f"{whose} {said}", now))

    def damaged(self, said: str) -> None:
        """The ledger is not what it was any more: what would say so is what cannot be believed."""
        self._tell(Alert("ledger_damaged", Severity.CRITICAL, "ledger", said, self._now_ms()))

    def _tell(self, alert: Alert) -> None:
        if self._react is not None:
            self._react(alert)
        if alert.severity < self._least:
            return
        _log.warning(
            "alert",
            rule=alert.rule,
            severity=alert.severity.word,
            subject=alert.subject,
            message=alert.message,
            receipt=alert.receipt,
        )
        for line in self._lines:
            line.put(alert)

    async def keep(self) -> None:
        """Delivers until cancelled."""
        async with anyio.create_task_group() as group:
            for line in self._lines:
                group.start_soon(line.keep)
