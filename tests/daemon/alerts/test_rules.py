"""What receipts are worth: bursts by whose they are, grave things at once, nothing twice."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.alerts.rules import (
    MINUTE_MS,
    MOST_SUBJECTS,
    QUIET_MS,
    TAMPERED,
    Alert,
    Bursts,
    Rules,
    Severity,
)
from ledger.chain import Entry
from ledger.receipt import format_time

BURSTS = Bursts(denied=3, strangers=3, asked=3)
START = 1_800_000_000_000


def receipt(kind: str, at: int = 0, number: int = 1, **body: Any) -> Entry:
    text = format_time(START + at)
    canonical = json.dumps({"body": body}).encode()
    return Entry(number, "id", kind, text, canonical, bytes(32), bytes(64))


def call(number: int, principal: str, end: str, at: int = 0, **body: Any) -> Iterator[Entry]:
    """A call's receipts: only its first names the caller."""
    yield receipt("call.received", at, call=f"c{number}", principal=principal)
    yield receipt(end, at, call=f"c{number}", **body)


def seen(rules: Rules, *entries: Entry) -> list[Alert]:
    return [alert for entry in entries for alert in rules.see(entry)]


def denied(rules: Rules, count: int, principal: str = "device/a", at: int = 0) -> list[Alert]:
    found = []
    for number in range(count):
        name = f"{principal}{at}{number}"
        found += seen(rules, *call(hash(name), principal, "call.denied", at, reason="FORBIDDEN"))
    return found


def test_a_burst_of_denials_is_told_once() -> None:
    """At the third within a minute, by its principal; not at the fourth; again after quiet."""
    rules = Rules(BURSTS)
    assert denied(rules, 2) == []
    [alert] = denied(rules, 1, at=10)
    assert (alert.rule, alert.severity, alert.subject) == (
        "denied_burst",
        Severity.WARNING,
        "device/a",
    )
    assert denied(rules, 5, at=20) == []
    assert len(denied(rules, 3, at=QUIET_MS + 20)) == 1


def test_denials_over_a_longer_time_are_none() -> None:
    """Two a minute for ten minutes: nobody is woken."""
    rules = Rules(BURSTS)
    for minute in range(10):
        assert denied(rules, 2, at=minute * (MINUTE_MS + 1)) == []


def test_bursts_are_counted_apart() -> None:
    """Two of one and two of another are not four of anybody's."""
    rules = Rules(BURSTS)
    assert denied(rules, 2, "device/a") + denied(rules, 2, "device/b") == []


def test_strangers_are_counted_by_address() -> None:
    """Whatever port they come from; an IPv6 source is its /64."""
    rules = Rules(BURSTS)
    found = [
        alert
        for port in range(3)
        for alert in seen(
            rules,
            receipt(
                "rpc.refused",
                principal="unknown",
                origin=f"ipv6:%5B2001:db8::{port}%5D:{port}",
                reason="CERT_UNKNOWN",
            ),
        )
    ]
    assert [(one.rule, one.subject) for one in found] == [
        ("authentication_failed", "2001:db8::/64")
    ]


def test_a_flood_of_questions_is_told() -> None:
    """Approvers that are asked without end say yes in the end."""
    rules = Rules(BURSTS)
    found = [
        alert
        for number in range(3)
        for alert in seen(rules, *call(number, "agent/x", "approval.asked", approval=str(number)))
    ]
    assert [(one.rule, one.subject) for one in found] == [("approval_flood", "agent/x")]


@pytest.mark.parametrize("reason", sorted(TAMPERED))
@pytest.mark.parametrize("kind", ["call.denied", "call.failed"])
def test_tampering_is_told_at_once(kind: str, reason: str) -> None:
    """The first sign is enough, and it is critical."""
    [alert] = seen(Rules(BURSTS), *call(1, "device/a", kind, reason=reason))
    assert (alert.rule, alert.severity) == ("tampering", Severity.CRITICAL)


@pytest.mark.parametrize(
    ("entry", "rule", "severity"),
    [
        (receipt("call.denied", reason="TIER_UNAVAILABLE", call="c"), "tier_lost", 3),
        (
            receipt("secret.refused", principal="device/a", act="put", reason="X"),
            "secret_refused",
            2,
        ),
        (receipt("call.interrupted", call="c", reason="DAEMON_DIED"), "daemon_died", 2),
        (receipt("policy.applied", principal="device/a"), "changed", 1),
        (receipt("device.paired", principal="device/a"), "changed", 1),
    ],
)
def test_what_is_told_by_itself(entry: Entry, rule: str, severity: int) -> None:
    """Each has its rule and its gravity."""
    assert [(one.rule, one.severity) for one in Rules(BURSTS).see(entry)] == [(rule, severity)]


@pytest.mark.parametrize("kind", ["call.succeeded", "call.received", "lease.used", "rpc.refused"])
def test_what_is_usual_is_not_told(kind: str) -> None:
    """Work that goes on, and a single refusal."""
    assert seen(Rules(BURSTS), receipt(kind, call="c", principal="device/a", reason="X")) == []


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["call.denied", "approval.asked", "rpc.refused", "secret.refused"]),
            st.sampled_from(["a", "b", "c"]),
            st.integers(0, 10 * MINUTE_MS),
        ),
        max_size=60,
    )
)
def test_it_is_the_same_of_the_same_and_never_too_often(
    told: list[tuple[str, str, int]],
) -> None:
    """A law: two observers agree, and one subject of one rule is told once in a time of quiet."""
    entries = [
        receipt(kind, at, number, principal=who, reason="X")
        for number, (kind, who, at) in enumerate(sorted(told, key=lambda one: one[2]))
    ]
    one, other = seen(Rules(BURSTS), *entries), seen(Rules(BURSTS), *entries)
    assert one == other
    for first in one:
        for second in one:
            if first is not second and (first.rule, first.subject) == (second.rule, second.subject):
                assert abs(first.time_ms - second.time_ms) >= QUIET_MS


def test_a_flood_of_subjects_is_not_remembered() -> None:
    """Whoever has many names makes nothing grow."""
    rules = Rules(BURSTS)
    for number in range(MOST_SUBJECTS + 100):
        denied(rules, 1, f"device/{number}")
    assert len(rules._seen) == len(rules._callers) == MOST_SUBJECTS
