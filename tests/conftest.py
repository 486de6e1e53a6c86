"""Fixtures that several folders share."""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from stockade.client import Client
from stockade.home import Home
from tests.running import CONFIG, RunningDaemon, make_directory, running

# How long an example takes to make or to try says how busy the machine is, and nothing of the rule.
# CI tries the same examples each time; whoever works on the code tries others in every run.
settings.register_profile(
    "stockade",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=os.environ.get("CI") == "true",
)
settings.load_profile("stockade")

# A shell that starts us in the background has SIGINT ignored, and every program we start would
# inherit that: Ctrl-C could not be tested.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def anyio_backend() -> str:
    """Asyncio only: grpc.aio is."""
    return "asyncio"


@pytest.fixture(scope="session")
def workspace() -> Iterator[Path]:
    """A directory with a file in it, that tools may be given and may write to."""
    path = make_directory("stockade-workspace-")
    path.chmod(0o777)
    (path / "hello.txt").write_text("hello\n")
    yield path
    shutil.rmtree(path, ignore_errors=True)


def config_with(workspace: Path) -> str:
    """A configuration with the workspace under two names: to write in, and to read only."""
    return (
        CONFIG
        + f'[workspaces.work]\npath = "{workspace}"\naccess = "write"\n'
        + f'[workspaces.docs]\npath = "{workspace}"\naccess = "read"\n'
    )


@pytest.fixture
def daemon(workspace: Path) -> Iterator[RunningDaemon]:
    """A running daemon of this test's own."""
    with running(config_with(workspace)) as made:
        yield made


@pytest.fixture(scope="module")
def shared_daemon(workspace: Path) -> Iterator[RunningDaemon]:
    """A running daemon for the tests of one module that do not disturb it."""
    with running(config_with(workspace)) as made:
        yield made


@pytest.fixture(scope="module")
def owner(shared_daemon: RunningDaemon) -> Iterator[Client]:
    """The local device, which is an owner."""
    with shared_daemon.client() as client:
        yield client


@pytest.fixture(scope="module")
def approver_home(shared_daemon: RunningDaemon) -> Home:
    """The credentials of a device that may approve."""
    return shared_daemon.pair_device("approver", "approvers")


@pytest.fixture(scope="module")
def approver(approver_home: Home) -> Iterator[Client]:
    """A device that may approve."""
    with Client.open(approver_home) as client:
        yield client


@pytest.fixture(scope="module")
def caller(shared_daemon: RunningDaemon) -> Iterator[Client]:
    """A device that may call and nothing else."""
    with Client.open(shared_daemon.pair_device("caller", "callers")) as client:
        yield client
