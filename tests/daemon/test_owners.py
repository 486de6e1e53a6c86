"""Who counts as an owner: whoever can connect, or will be able to again by themselves."""

from dataclasses import replace

import pytest

from daemon.identity.owners import is_last_owner
from daemon.identity.suspended import Suspension
from daemon.store.devices import DeviceStatus
from tests.daemon.test_connections import HOUR, IDS, Registry

FIRST, SECOND = map(str, IDS)
LOCAL = FIRST
NOBODY = "dev-" + 16 * "a"
ENDED = 2 * int(HOUR.total_seconds() * 1000)


def last(registry: Registry, local: str = NOBODY) -> list[bool]:
    """Whether each of the two is the last owner."""
    return [is_last_owner(registry.fresh(), own, local) for own in (FIRST, SECOND)]


def test_of_two_that_can_connect_neither_is_the_last() -> None:
    """Nor is anybody else."""
    registry = Registry()
    assert last(registry) == [False, False]
    assert not is_last_owner(registry.fresh(), NOBODY, LOCAL)


def test_a_device_whose_certificates_have_ended_leaves_the_other_alone() -> None:
    """But for the local one, which gets another by `stockade up`."""
    registry = Registry()
    registry.now_ms += ENDED
    assert last(registry) == [True, True]
    assert last(registry, LOCAL) == [True, False]


def test_so_does_one_whose_authority_was_retired() -> None:
    """Its certificates are refused, whatever time they have left."""
    registry = Registry()
    registry.accepted = False
    assert last(registry) == [True, True]


@pytest.mark.parametrize("how", ["revoked", "certificates", "groups", "suspended"])
def test_so_does_one_that_may_not_connect(how: str) -> None:
    """Revoked, without a good certificate, in other groups, or shut out."""
    registry = Registry()
    gone = registry.known[1]
    if how == "revoked":
        gone = replace(gone, row=replace(gone.row, status=DeviceStatus.REVOKED))
    elif how == "certificates":
        revoked = tuple(replace(one, revoked_ms=1) for one in gone.certificates)
        gone = replace(gone, certificates=revoked)
    elif how == "groups":
        gone = replace(gone, groups=("operators",))
    registry.known[1] = gone
    devices = registry.fresh()
    if how == "suspended":
        found = Suspension("rule", registry.now_ms)
        devices.suspended.load(devices.suspended.with_one(f"device/{SECOND}", found))
    assert is_last_owner(devices, FIRST, LOCAL)
    assert is_last_owner(devices, FIRST, NOBODY)
