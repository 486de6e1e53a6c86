"""Alerts are told: to the log at once, and to a webhook as soon as it takes them.

Trusted to hold up no call and no shutdown: what cannot be delivered yet waits in a bounded line,
and is tried again with ever longer rests; when the line is full the least grave and oldest goes,
which is logged. Each try is signed anew with its time, so that whoever listens can tell an alert of
ours from others, and a new one from one that was recorded. Raises nothing.
"""

import hashlib
import hmac
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
import structlog

from daemon.alerts.rules import Alert, Rules, Severity
from daemon.webhook import post
from ledger.chain import Entry

_log = structlog.get_logger("stockade.alerts")

MOST_WAITING = 256
FIRST_REST_SECONDS, LONGEST_REST_SECONDS = 1.0, 300.0
SIGNATURE, TIMESTAMP = "Stockade-Signature", "Stockade-Timestamp"


@dataclass(frozen=True, slots=True)
class Hook:
    """Where alerts are posted, and the key that they are signed with."""

    url: str
    key: bytes
    first_rest_seconds: float = FIRST_REST_SECONDS

    @property
    def place(self) -> str:
        """Without the path, which may hold a token."""
        return urlsplit(self.url).netloc

    def deliver(self, body: bytes, now: int) -> None:
        """Posts it; OSError if it was not taken."""
        headers = {
            "Content-Type": "application/json",
            TIMESTAMP: str(now),
            SIGNATURE: f"v1={sign(self.key, now, body)}",
        }
        status = post(self.url, body, headers)
        if not 200 <= status < 300:
            raise OSError(0, f"it answered {status}")


def sign(key: bytes, timestamp: int, body: bytes) -> str:
    """HMAC-SHA256 over the time, a full stop and the body; hex."""
    return hmac.new(key, b"%d.%b" % (timestamp, body), hashlib.sha256).hexdigest()


class Alerts:
    """See the module. Belongs to the event loop."""

    def __init__(
        self,
        rules: Rules,
        chain: str,
        least: Severity,
        hook: Hook | None,
        now_ms: Callable[[], int],
    ) -> None:
        self._rules = rules
        self._chain = chain
        self._least = least
        self._hook = hook
        self._now_ms = now_ms
        self._waiting: list[Alert] = []
        self._arrived = anyio.Event()

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

    def _tell(self, alert: Alert) -> None:
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
        if self._hook is None:
            return
        self._waiting.append(alert)
        if len(self._waiting) > MOST_WAITING:
            least = min(self._waiting, key=lambda one: one.severity)
            self._waiting.remove(least)
            _log.error("alert.dropped", rule=least.rule, receipt=least.receipt)
        self._arrived.set()

    async def keep(self) -> None:
        """Delivers, one after the other, until cancelled."""
        if self._hook is None:
            return
        rest = self._hook.first_rest_seconds
        while True:
            if not self._waiting:
                self._arrived = anyio.Event()
                await self._arrived.wait()
            alert = self._waiting[0]
            if await self._delivered(self._hook, alert):
                rest = self._hook.first_rest_seconds
                if alert in self._waiting:
                    self._waiting.remove(alert)
                continue
            await anyio.sleep(rest)
            rest = min(2 * rest, LONGEST_REST_SECONDS)

    async def _delivered(self, hook: Hook, alert: Alert) -> bool:
        body = alert.encode(self._chain)
        try:
            await anyio.to_thread.run_sync(
                hook.deliver, body, int(time.time()), abandon_on_cancel=True
            )
        except OSError as error:
            _log.warning(
                "alert.undelivered", rule=alert.rule, place=hook.place, reason=error.strerror
            )
            return False
        return True
