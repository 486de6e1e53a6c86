"""What several attacks start from."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from stockade.client import Client
from stockade.v1 import policy_pb2
from tests.running import RunningDaemon, make_directory

ANYTHING = """
@id("owners-unattended")
permit (principal in Group::"owners", action == Action::"call_unattended", resource);
"""


@pytest.fixture(scope="module")
def unhindered(shared_daemon: RunningDaemon) -> Iterator[Client]:
    """A client that policy lets run anything unattended: only bad input stands in its way."""
    with shared_daemon.client() as client:
        files = [*client.get_policy().files, policy_pb2.PolicyFile(name="a.cedar", text=ANYTHING)]
        client.apply_policy(files)
        yield client


@pytest.fixture
def untouched(workspace: Path) -> Iterator[None]:
    """The workspace is as it was: nothing ran that could have left a mark in it."""
    before = sorted(workspace.iterdir())
    yield
    assert sorted(workspace.iterdir()) == before


@pytest.fixture(scope="module")
def pristine() -> Iterator[Path]:
    """A home that has been initialised, to be copied."""
    made = RunningDaemon(make_directory())
    answer = made.init()
    assert answer.returncode == 0, answer.stderr
    yield made.root
    shutil.rmtree(made.root, ignore_errors=True)


@pytest.fixture
def initialised(pristine: Path) -> Iterator[RunningDaemon]:
    """An initialised home of this test's own, with no daemon on it."""
    root = make_directory()
    shutil.copytree(pristine, root, dirs_exist_ok=True)
    made = RunningDaemon(root, initialised=True)
    yield made
    made.stop()
    shutil.rmtree(root, ignore_errors=True)
