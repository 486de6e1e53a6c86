"""Promise 7 in memory: after a call no value of it is left in the daemon's, by any of its forms."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.attacks.memory import found_in_memory
from tests.promises.acting import apply, python_tool, run, until
from tests.promises.test_7_secrets import (
    ENV_SECRET,
    ENV_VALUE,
    FILE_SECRET,
    GRANTED,
    LOOK,
    SECRETS,
    TRACES,
    VALUE,
)
from tests.running import RunningDaemon, finished, output, running

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root may read the memory of a process that is not dumpable"
)
WAITS = "import sys, time\nprint('up', flush=True)\ntime.sleep(60)\n"


@pytest.fixture(scope="module")
def restarted() -> Iterator[RunningDaemon]:
    """A daemon that has the secrets, and was started again since they were put."""
    with running() as daemon:
        with daemon.client() as client:
            client.put_secret(FILE_SECRET, VALUE)
            client.put_secret(ENV_SECRET, ENV_VALUE)
            python_tool(client, "shows", LOOK, rest=SECRETS)
            python_tool(client, "waits", WAITS, rest=SECRETS)
            apply(client, GRANTED)
        yield daemon.restart()


def test_the_search_finds_what_is_there(restarted: RunningDaemon) -> None:
    """The control: while a tool holds the secrets, the same search finds them."""
    with restarted.client() as client, client.call("waits", {}) as events:
        for event in events:
            if event.HasField("started"):
                break
        assert VALUE in found_in_memory(restarted.pid, {VALUE, ENV_VALUE})


def test_after_a_call_no_form_of_a_value_is_in_memory(restarted: RunningDaemon) -> None:
    """Not the value, nor its base64, hex, percent or JSON form, though the tool printed them."""
    with restarted.client() as client:
        for _ in range(3):
            events = run(client, "shows")
            assert finished(events).redactions >= 13
            assert output(events).endswith(b"end\n")
    left: dict[bytes, str] = {}

    def none_left() -> bool:
        left.clear()
        left.update(found_in_memory(restarted.pid, TRACES))
        return not left

    assert until(none_left), left


def test_the_daemon_writes_no_core_dump(restarted: RunningDaemon) -> None:
    """Its limit is zero, and the page it keeps its key in is locked and in no dump anyway."""
    limits = Path(f"/proc/{restarted.pid}/limits").read_text()
    line = next(line for line in limits.splitlines() if line.startswith("Max core file size"))
    assert line.split()[4:6] == ["0", "0"]
    mappings = Path(f"/proc/{restarted.pid}/smaps").read_text().splitlines()
    flags = [set(line.split()) for line in mappings if line.startswith("VmFlags:")]
    assert any({"dd", "lo"} <= one for one in flags)


def test_no_limit_and_no_pipe_brings_the_dump_back() -> None:
    """What the daemon asks for makes the kernel write none: the process is not dumpable."""
    code = (
        "import ctypes, resource\nfrom daemon.hardening import keep_memory_private\n"
        "keep_memory_private()\nprint(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0),"
        " resource.getrlimit(resource.RLIMIT_CORE))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=180
    )
    assert done.stdout.split(maxsplit=1) == ["0", "(0, 0)\n"]
