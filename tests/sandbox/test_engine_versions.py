"""An engine that is younger than the version it is asked in: it is asked in its oldest."""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from sandbox import ContainerSandbox
from tests.sandbox.conftest import Collected, ContainerRunner, shell, wait_until
from tests.sandbox.test_engine_hangs import Between

pytestmark = pytest.mark.anyio


class Younger(Between):
    """This machine's engine, as it would be if the least it took were 1.44, as Docker 29 does."""

    refused = 0

    def on_its_way_in(self, head: bytes) -> bytes:
        """What is asked in an older version is too old; 1.44 is what any engine knows as 1.41."""
        self.refused += b"/v1.41/" in head
        return head.replace(b"/v1.41/", b"/v1.00/", 1).replace(b"/v1.44/", b"/v1.41/", 1)

    def on_its_way_out(self, head: bytes) -> bytes:
        """It says so, where it is asked."""
        return re.sub(rb'"MinAPIVersion":"1\.\d\d"', b'"MinAPIVersion":"1.44"', head)


@pytest.fixture
def younger(tmp_path: Path) -> Iterator[Younger]:
    """Such an engine."""
    made = Younger(tmp_path / "engine.sock")
    yield made
    made.close()


async def test_a_younger_engine_is_asked_in_its_oldest_version(
    box: ContainerRunner, younger: Younger
) -> None:
    """A run begins, streams and ends there, and nothing was asked in a version it refuses."""
    sandbox = ContainerSandbox(replace(box.settings, socket=str(younger.path)))
    sink = Collected()
    outcome = await sandbox.run(shell("echo here; exit 3"), sink)
    await sandbox.close()
    assert (sink.out, outcome.exit_code, outcome.detail) == (b"here\n", 3, "")
    assert younger.refused == 0
    wait_until(lambda: not box.groups(), 30)
