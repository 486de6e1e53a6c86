"""What is removed as left over is this daemon's own, and nothing that is in use."""

import errno
import os
import secrets
import subprocess
import sys
from typing import Any

import anyio
import pytest

from sandbox import processes
from sandbox.container_mounts import labels
from tests.sandbox.conftest import Collected, ContainerRunner, shell

pytestmark = pytest.mark.anyio


async def test_what_somebody_else_has_with_our_labels_is_not_removed(box: ContainerRunner) -> None:
    """A container of an image that was committed of one of ours has its labels, and is not ours."""
    name, ours = f"test-{secrets.token_hex(4)}", labels(box.settings)
    image = (await box.sandbox._starter.image("")).id
    config = {"Image": image, "Cmd": ["-"], "Labels": ours}

    def make(api: Any) -> str:
        api.create_volume(f"{name}-0", labels=ours)
        return str(api.create_container_from_config(config, name)["Id"])

    container = box.docker._ask(make)
    try:
        assert await box.sandbox.reap() == 0
        assert [one.container for one in box.docker.containers(ours)] == [container]
        assert box.docker.volumes(ours) == (f"{name}-0",)
    finally:
        box.docker.remove(container, [f"{name}-0"])


async def test_one_that_was_renamed_is_not_taken_from_its_run(box: ContainerRunner) -> None:
    """Whoever renames a container does not make it one that an earlier daemon left."""
    sink = Collected()

    async def rename(_stream: str, data: bytes) -> None:
        (one,) = box.docker.containers(box.labels)
        box.docker._ask(lambda api: api.rename(one.container, f"test-{secrets.token_hex(4)}"))
        assert await box.sandbox.reap() == 0
        await sink("stdout", data)

    with anyio.fail_after(60):
        outcome = await box.sandbox.run(shell("echo on; sleep 0.2; exit 3"), rename)
    assert (sink.out, outcome.exit_code) == (b"on\n", 3)


def test_a_process_that_ends_while_all_are_looked_through_is_no_fault(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The kernel answers for it with ESRCH, of a look and of a read; one in ten thousand looks."""
    mark, gone = f"--mark={secrets.token_hex(4)}-", "/cmdline"

    def ended(path: Any, *_: Any, **__: Any) -> Any:
        if str(path).startswith("/proc/") and str(path).endswith(gone):
            raise ProcessLookupError(errno.ESRCH, "No such process", str(path))
        return really(path)

    really = os.stat
    still = [sys.executable, "-c", "print(flush=True); input()", f"{mark}here"]
    with subprocess.Popen(still, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as found:
        assert found.stdout is not None
        found.stdout.readline()  # while a program is being taken in it has no arguments yet
        try:
            monkeypatch.setattr(os, "stat", ended)
            assert processes.with_mark([sys.executable], mark) == {found.pid: "here"}
        finally:
            found.communicate(b"\n")
