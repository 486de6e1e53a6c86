"""One daemon a module, with devices in the roles that approvals need."""

from collections.abc import Iterator

import pytest

from stockade.client import Client
from stockade.home import Home
from tests.running import RunningDaemon


@pytest.fixture(scope="module")
def approver_home(shared_daemon: RunningDaemon) -> Home:
    """The credentials of a device that may approve."""
    return shared_daemon.pair_device("approver", "approvers")


@pytest.fixture(scope="module")
def owner(shared_daemon: RunningDaemon) -> Iterator[Client]:
    """The local device, which is an owner and calls."""
    with shared_daemon.client() as client:
        yield client


@pytest.fixture(scope="module")
def approver(approver_home: Home) -> Iterator[Client]:
    """A device that may approve."""
    with Client.open(approver_home) as client:
        yield client
