"""Looks from time to time, taken together.

Many parts of a daemon look at something twice a second or so. Each by its own clock would wake the
processor for itself: an idle daemon would be awake twenty times a second, with nothing to do.
"""

import anyio


def next_tick(seconds: float) -> float:
    """When the event loop's clock is next a multiple of this, by that clock."""
    now = anyio.current_time()
    return (now // seconds + 1) * seconds


async def tick(seconds: float) -> None:
    """Sleep until then: between nothing and `seconds`, so over and over it is every `seconds`."""
    await anyio.sleep_until(next_tick(seconds))
