"""A home in which another user could plant something is not served from."""

import stat

import pytest

from tests.attacks.starting import refused, serve
from tests.running import RunningDaemon

PLACES = ("data", "data/tools", "policies", "tools", "config.toml")


@pytest.mark.parametrize("place", PLACES)
def test_what_others_may_write_to_stops_the_start(initialised: RunningDaemon, place: str) -> None:
    """A policy, tool or setting that anybody may plant is nobody's; the mending command works."""
    path = initialised.root / place
    mode = stat.S_IMODE(path.stat().st_mode)
    path.chmod(mode | 0o002)
    said = refused(serve(initialised), "DIRECTORY_EXPOSED")
    assert f"chmod go-w -- {path.resolve()}" in said
    path.chmod(mode)
    initialised.start()
    initialised.stop()
