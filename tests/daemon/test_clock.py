"""The daemon's clock, against wall clocks that are set about while it runs."""

from datetime import UTC, datetime

import hypothesis.strategies as st
from hypothesis import given

from daemon.clock import Clock

START = 1_700_000_000_000


class Hands:
    """A wall clock and a boot clock that go as they are told."""

    def __init__(self) -> None:
        self.wall, self.boot = START, 5_000

    def clock(self) -> Clock:
        return Clock(lambda: self.wall, lambda: self.boot)

    def pass_by(self, milliseconds: int) -> None:
        self.wall += milliseconds
        self.boot += milliseconds


def test_it_follows_the_wall_clock() -> None:
    """Undisturbed, it is the wall clock."""
    hands = Hands()
    clock = hands.clock()
    assert clock.now_ms() == START
    hands.pass_by(1234)
    assert clock.now_ms() == START + 1234
    assert clock.now() == datetime.fromtimestamp((START + 1234) / 1000, UTC)


def test_a_clock_set_back_gives_nobody_more_time() -> None:
    """An approval does not live longer because somebody set the clock back an hour."""
    hands = Hands()
    clock = hands.clock()
    hands.wall -= 3_600_000
    assert clock.now_ms() == START
    hands.pass_by(60_000)
    assert clock.now_ms() == START + 60_000


def test_a_jump_forward_is_followed_and_kept() -> None:
    """Set forward it is followed; set back again it stays ahead and still goes on."""
    hands = Hands()
    clock = hands.clock()
    hands.wall += 7_200_000
    assert clock.now_ms() == START + 7_200_000
    hands.wall -= 7_200_000
    assert clock.now_ms() == START + 7_200_000
    hands.pass_by(10)
    assert clock.now_ms() == START + 7_200_010


def test_time_asleep_counts() -> None:
    """A machine that slept with a stopped wall clock has aged: the boot clock counts it."""
    hands = Hands()
    clock = hands.clock()
    hands.boot += 90_000
    assert clock.now_ms() == START + 90_000


STEPS = st.lists(st.tuples(st.integers(0, 10_000), st.integers(-10_000_000, 10_000_000)))


@given(STEPS)
def test_it_never_goes_back_and_never_lags(steps: list[tuple[int, int]]) -> None:
    """Whatever is done to the wall clock: it is never behind it, nor behind what has passed."""
    hands = Hands()
    clock = hands.clock()
    before = clock.now_ms()
    for passed, jump in steps:
        hands.pass_by(passed)
        hands.wall += jump
        now = clock.now_ms()
        assert now >= before + passed
        assert now >= hands.wall
        before = now


def test_the_real_clock() -> None:
    """With the machine's own clocks it is the time, and does not go back."""
    clock = Clock()
    times = [clock.now_ms() for _ in range(1000)]
    assert times == sorted(times)
    assert abs(times[-1] / 1000 - datetime.now(UTC).timestamp()) < 60
