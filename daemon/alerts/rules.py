"""What receipts are worth an alert, and how grave it is. Pure: receipts in, alerts out.

Trusted to say the same of the same receipts: the only clock is the receipts' own. A burst is told
once, and again only after a time of quiet; what is remembered is bounded, so that a flood cannot
make it grow. Names principals and reasons, and nothing of arguments, output or secrets, which
receipts do not hold. Raises nothing.
"""

import json
from collections import OrderedDict, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import orjson

from daemon.source import source_of_peer
from ledger.chain import Entry
from ledger.receipt import parse_time

MINUTE_MS = 60_000
QUIET_MS = 5 * MINUTE_MS
MOST_SUBJECTS = 4096

# A reason that says that somebody wrote where only the daemon writes, or put something older back.
TAMPERED = frozenset(
    {
        *("APPROVAL_DAMAGED", "LEASE_DAMAGED", "SNAPSHOT_CHANGED"),
        *("VAULT_ROLLED_BACK", "LEDGER_ROLLED_BACK", "STORE_CORRUPT"),
    }
)
_STRANGERS = ("UNAUTHENTICATED", "CERT_", "TLS_")
_CHANGES = frozenset(
    {
        *("policy.applied", "device.paired", "device.revoked", "agent.enrolled", "agent.revoked"),
        *("authority.rotated", "vault.root_rotated", "vault.rollback_accepted", "tool.added"),
    }
)
# Others say nothing that any rule looks at, and are not even read: this is done for every receipt.
_WANTED = _CHANGES | {
    *("call.received", "call.denied", "call.failed", "call.interrupted"),
    *("approval.asked", "rpc.refused", "secret.refused"),
}


class Severity(IntEnum):
    """How grave it is."""

    INFO = 1
    WARNING = 2
    CRITICAL = 3

    @property
    def word(self) -> str:
        """As it is written."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing to hear of. `receipt` is the number of the receipt that made it one, or 0."""

    rule: str
    severity: Severity
    subject: str
    message: str
    time_ms: int
    receipt: int = 0

    def encode(self, chain: str) -> bytes:
        """As it is sent: JSON, keys in order."""
        fields = {
            "v": 1,
            "chain": chain,
            "rule": self.rule,
            "severity": self.severity.word,
            "subject": self.subject,
            "message": self.message,
            "time_ms": self.time_ms,
            "receipt": self.receipt,
        }
        return json.dumps(fields, sort_keys=True).encode()


@dataclass(frozen=True, slots=True)
class Bursts:
    """How many in a minute are a burst."""

    denied: int
    strangers: int
    asked: int


class Rules:
    """See the module."""

    def __init__(self, bursts: Bursts) -> None:
        self._bursts = bursts
        self._callers: OrderedDict[str, str] = OrderedDict()
        self._seen: OrderedDict[tuple[str, str], deque[int]] = OrderedDict()
        self._told: OrderedDict[tuple[str, str], int] = OrderedDict()

    def see(self, entry: Entry) -> Iterator[Alert]:
        """What the next receipt is worth."""
        if entry.kind not in _WANTED:
            return
        body: Mapping[str, Any] = orjson.loads(entry.canonical)["body"]
        if entry.kind == "call.received":
            # It says whose call it is, for those that follow, and is worth no alert by itself.
            _remember(self._callers, str(body.get("call", "")), str(body.get("principal", "")))
            return
        now = parse_time(entry.time)
        for rule, severity, subject, message in self._found(entry.kind, body, now):
            if self.is_news(rule, subject, now):
                yield Alert(rule, severity, subject, message, now, entry.sequence)

    def _found(
        self, kind: str, body: Mapping[str, Any], now: int
    ) -> Iterator[tuple[str, Severity, str, str]]:
        reason = str(body.get("reason", ""))
        who = str(body.get("principal", "")) or self._callers.get(str(body.get("call", "")), "")
        if reason in TAMPERED:
            yield "tampering", Severity.CRITICAL, reason, f"{kind}: {reason}"
        if reason == "TIER_UNAVAILABLE":
            yield "tier_lost", Severity.CRITICAL, "tier", f"{kind}: {body.get('message', '')}"
        if kind == "call.interrupted":
            yield "daemon_died", Severity.WARNING, "daemon", "it died under calls"
        if kind == "secret.refused":
            said = f"{body.get('act', '')} was refused: {reason}"
            yield "secret_refused", Severity.WARNING, who, said
        if kind in _CHANGES:
            yield "changed", Severity.INFO, kind, f"{kind} by {who or 'nobody'}"
        yield from self._burst(kind, reason, who, body, now)

    def _burst(
        self, kind: str, reason: str, who: str, body: Mapping[str, Any], now: int
    ) -> Iterator[tuple[str, Severity, str, str]]:
        bursts = self._bursts
        if kind == "rpc.refused" and reason.startswith(_STRANGERS):
            source = source_of_peer(str(body.get("origin", "")))
            if self._many("strangers", source, bursts.strangers, now):
                said = f"{bursts.strangers} in a minute could not say who they are: {reason}"
                yield "authentication_failed", Severity.WARNING, source, said
        elif kind in ("call.denied", "rpc.refused"):
            if self._many("denied", who, bursts.denied, now):
                said = f"{bursts.denied} refusals in a minute, lastly {reason}"
                yield "denied_burst", Severity.WARNING, who, said
        elif kind == "approval.asked" and self._many("asked", who, bursts.asked, now):
            said = f"{bursts.asked} questions to people in a minute"
            yield "approval_flood", Severity.WARNING, who, said

    def _many(self, what: str, who: str, burst: int, now: int) -> bool:
        key = (what, who)
        times = self._seen.pop(key, None) or deque(maxlen=burst)
        times.append(now)
        _remember(self._seen, key, times)
        return len(times) == burst and now - times[0] <= MINUTE_MS

    def is_news(self, rule: str, subject: str, now: int) -> bool:
        """Whether that has not been told of the subject lately; it is, from now on."""
        key = (rule, subject)
        last = self._told.get(key)
        if last is not None and now - last < QUIET_MS:
            return False
        _remember(self._told, key, now)
        return True


def _remember(where: "OrderedDict[Any, Any]", key: Any, value: Any) -> None:
    where[key] = value
    where.move_to_end(key)
    if len(where) > MOST_SUBJECTS:
        where.popitem(last=False)
