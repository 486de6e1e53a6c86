"""What time it is, as policies are told."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from policy.contexts import administrative_context, call_context
from policy.pdp import Question
from tests.policy.world import facts, pdp, uid

VIENNA = ZoneInfo("Europe/Vienna")
PERMIT = "permit (principal, action, resource)"
QUIET = (
    "permit (principal, action, resource);"
    'forbid (principal, action == Action::"call", resource) when '
    "{ context.clock.hour >= 22 || context.clock.hour < 6 || context.clock.weekday >= 6 };"
)


def permitted(text: str, moment: datetime, *, maintenance: bool = False) -> bool:
    context = call_context(replace(facts(), time=moment, maintenance=maintenance))
    asked = Question(uid("Device::dev-callers"), "call", uid("Tool::read_file"), context)
    return pdp(text).decide(asked).allowed


@pytest.mark.parametrize(
    ("moment", "may"),
    [
        (datetime(2026, 11, 20, 21, 59, 59, tzinfo=VIENNA), True),  # a Friday
        (datetime(2026, 11, 20, 22, 0, tzinfo=VIENNA), False),
        (datetime(2026, 11, 20, 5, 59, tzinfo=VIENNA), False),
        (datetime(2026, 11, 20, 6, 0, tzinfo=VIENNA), True),
        (datetime(2026, 11, 21, 12, 0, tzinfo=VIENNA), False),
        (datetime(2026, 11, 22, 12, 0, tzinfo=VIENNA), False),
        (datetime(2026, 11, 23, 12, 0, tzinfo=VIENNA), True),
        # 21:30 in UTC is 22:30 there in winter, 23:30 in summer.
        (datetime(2026, 11, 20, 21, 30, tzinfo=UTC).astimezone(VIENNA), False),
        (datetime(2026, 7, 20, 20, 30, tzinfo=UTC).astimezone(VIENNA), False),
        (datetime(2026, 7, 20, 19, 59, tzinfo=UTC).astimezone(VIENNA), True),
    ],
)
def test_quiet_hours(moment: datetime, may: bool) -> None:
    """Night and weekend are those of the operator's clock, to the minute, summer and winter."""
    assert permitted(QUIET, moment) is may


def test_a_day_by_its_date() -> None:
    """A holiday is the date where the operator is, not in UTC."""
    text = (
        "permit (principal, action, resource);"
        'forbid (principal, action == Action::"call", resource) when '
        '{ ["2026-12-24", "2026-12-25"].contains(context.clock.date) };'
    )
    late = datetime(2026, 12, 23, 23, 30, tzinfo=UTC)
    assert permitted(text, late)
    assert not permitted(text, late.astimezone(VIENNA))


def test_a_permit_that_ends() -> None:
    """`epoch` and `time` are the same moment, whatever the zone."""
    end = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
    texts = (
        f"{PERMIT} when {{ context.clock.epoch < {int(end.timestamp())} }};",
        f'{PERMIT} when {{ context.time < datetime("2026-11-20T12:00:00Z") }};',
    )
    for text in texts:
        for zone in (UTC, VIENNA):
            assert permitted(text, (end - timedelta(milliseconds=1)).astimezone(zone))
            assert not permitted(text, end.astimezone(zone))


def test_maintenance_is_an_attribute_like_any() -> None:
    """It forbids where a policy says that it does, and nothing by itself."""
    everything = "permit (principal, action, resource);"
    switch = everything + "forbid (principal, action, resource) when { context.maintenance };"
    now = datetime.now(UTC)
    assert permitted(everything, now, maintenance=True)
    assert permitted(switch, now)
    assert not permitted(switch, now, maintenance=True)


@given(st.integers(0, 2**33))
def test_the_clock_and_the_time_agree(epoch: int) -> None:
    """Whatever the moment: the parts are its parts, and `epoch` its whole seconds."""
    aware = datetime.fromtimestamp(epoch, VIENNA)
    context = administrative_context(aware, "here")
    clock = context["clock"]
    assert clock == {
        "epoch": epoch,
        "date": f"{aware:%Y-%m-%d}",
        "hour": aware.hour,
        "minute": aware.minute,
        "weekday": aware.isoweekday(),
    }
