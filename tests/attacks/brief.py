"""Daemons whose certificates live for seconds, so that their ends can be waited for.

The configuration is the operator's own (`identity.*_hours` take fractions): nothing in the daemon
is replaced. Waiting is by the wall clock, because TLS judges certificates by it.
"""

import time
from collections.abc import Callable

from tests.running import CONFIG

PATIENCE_SECONDS = 90


def hours(seconds: float) -> float:
    """As the configuration has it."""
    return seconds / 3600


def brief(
    *,
    device: float = 86400,
    local: float = 86400,
    server: float = 86400,
    overlap: float = 86400,
) -> str:
    """A configuration with these lifetimes, in seconds.

    The local device's begins before the daemon starts, which may take a while.
    """
    return (
        CONFIG
        + "[identity]\n"
        + f"device_certificate_hours = {hours(device):.6f}\n"
        + f"local_certificate_hours = {hours(local):.6f}\n"
        + f"server_certificate_hours = {hours(server):.6f}\n"
        + f"authority_overlap_hours = {hours(overlap):.6f}\n"
    )


def until(true: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> float:
    """Waits for it; how long it took."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        if true():
            return time.monotonic() - began
        time.sleep(0.05)
    raise AssertionError("it never came true")
