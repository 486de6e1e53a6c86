"""Rate limits: what a token bucket must and must not let through."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.rates import Kind, Rate, Rates, TooOften


class Time:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def made(per_second: float = 10, burst: int = 5) -> tuple[Rates, Time]:
    """Buckets of one rate for both kinds, and their clock."""
    time, rate = Time(), Rate(per_second, burst)
    return Rates(dict.fromkeys(Kind, rate), time), time


def taken(rates: Rates, principal: str, kind: Kind = Kind.CALL, tries: int = 100) -> int:
    """How many of so many requests at one moment get through."""
    through = 0
    for _ in range(tries):
        try:
            rates.take(principal, kind)
        except TooOften:
            continue
        through += 1
    return through


def test_a_burst_and_no_more_gets_through_at_once() -> None:
    """At one moment exactly the burst gets through."""
    rates, _ = made(burst=5)
    assert taken(rates, "device/a") == 5


def test_principals_and_kinds_do_not_take_from_each_other() -> None:
    """A principal that floods costs another nothing, nor its own administration."""
    rates, _ = made(burst=5)
    assert taken(rates, "device/a") == 5
    assert taken(rates, "device/b") == 5
    assert taken(rates, "device/a", Kind.ADMINISTRATION) == 5


def test_the_refusal_says_when_to_come_back() -> None:
    """After exactly the time named, one more request gets through."""
    rates, time = made(per_second=4, burst=1)
    rates.take("device/a", Kind.CALL)
    with pytest.raises(TooOften) as refused:
        rates.take("device/a", Kind.CALL)
    assert refused.value.code == "RATE_LIMITED"
    assert refused.value.retry_seconds == pytest.approx(0.25)
    time.now += refused.value.retry_seconds
    rates.take("device/a", Kind.CALL)


@given(
    st.lists(st.floats(0, 2, allow_nan=False), min_size=1, max_size=60),
    st.floats(0.5, 50),
    st.integers(1, 20),
)
def test_never_more_than_the_burst_and_the_rate_allow(
    pauses: list[float], per_second: float, burst: int
) -> None:
    """Whatever the pauses, no more gets through than burst + rate x time."""
    rates, time = made(per_second, burst)
    through = 0
    for pause in pauses:
        time.now += pause
        through += taken(rates, "device/a", tries=3)
    assert through <= burst + per_second * time.now + 1e-6


def test_a_clock_that_goes_back_gives_nothing() -> None:
    """Time that runs backwards fills no bucket."""
    rates, time = made(burst=1)
    rates.take("device/a", Kind.CALL)
    time.now -= 1000
    assert taken(rates, "device/a", tries=3) == 0


def test_buckets_that_are_full_again_are_forgotten() -> None:
    """Ten thousand principals that asked once do not stay in memory."""
    rates, time = made(per_second=10, burst=5)
    for number in range(10_000):
        rates.take(f"device/{number}", Kind.CALL)
        time.now += 1
    assert len(rates._buckets) <= 4096 + 1


def test_newcomers_are_refused_before_memory_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """With as many in use as may be, nobody new comes in; who is there goes on; it passes."""
    monkeypatch.setattr(Rates, "_TIDY_AT", 50)
    monkeypatch.setattr(Rates, "MOST", 200)
    rates, time = made(per_second=1, burst=2)
    for number in range(200):
        rates.take(f"192.0.2.{number}", Kind.PAIRING)
    with pytest.raises(TooOften) as refused:
        rates.take("198.51.100.1", Kind.PAIRING)
    assert refused.value.retry_seconds == 1
    assert len(rates._buckets) == 200
    rates.take("192.0.2.7", Kind.PAIRING)
    time.now += 2
    rates.take("198.51.100.1", Kind.PAIRING)
    assert len(rates._buckets) <= 2
