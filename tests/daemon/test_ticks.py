"""Looks from time to time are taken together."""

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon import ticks

PERIODS = st.sampled_from([0.25, 0.5, 1.0, 2.0, 5.0])


@given(now=st.floats(0, 1e9), seconds=PERIODS, shorter=PERIODS)
def test_a_tick_is_soon_and_everybodys(now: float, seconds: float, shorter: float) -> None:
    """Within the time asked for, and no tick falls between those of a period that divides it."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(anyio, "current_time", lambda: now)
        then = ticks.next_tick(seconds)
        assert now < then <= now + seconds
        if seconds % shorter == 0:
            assert (then / shorter).is_integer()
