"""What waits has gone the way of a request once, and nothing of that can be seen."""

from dataclasses import replace

import anyio
import pytest

from sandbox.frame import PYTHON
from tests.sandbox.conftest import ContainerRunner, make_spec
from tests.sandbox.test_containers import kept
from tests.sandbox.test_in_place import ran

pytestmark = pytest.mark.anyio

_ALL_IT_SEES = """
import os, resource, signal, sys
print(sys.argv, sorted(sys.modules), sys.path, sorted(globals()), sys.stdout.line_buffering)
print(os.getcwd(), dict(os.environ), sorted(os.listdir('/proc/self/fd')), os.umask(0o22))
print([signal.getsignal(one) for one in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT)])
print([resource.getrlimit(one) for one in range(10)], sorted(os.listdir('/tmp')), sys.stdin.read())
"""
# What is open in the launcher's first process a tool sees in gVisor only.
_BY_A_SHELL = "ulimit -a; env; trap; ls /proc/1/fd 2>&1 || true"


@pytest.mark.parametrize("program", ["-c", ""])
async def test_what_waits_shows_a_tool_nothing_of_its_wait(
    box: ContainerRunner, program: str
) -> None:
    """It goes the way of a request while it waits: a tool sees the same as in one that did not."""
    argv = (*PYTHON, "-c", _ALL_IT_SEES) if program else ("/bin/sh", "-c", _BY_A_SHELL)
    spec = make_spec(*argv, python=bool(program), stdin=b"in")
    cold, how = await ran(box, spec)
    assert how == "started for this run"
    async with kept(box):
        again = replace(spec, run_id=f"{spec.run_id}-again")
        assert await box.sandbox.warm(again)
        await anyio.sleep(0.5)  # what holds does so before that, too
        assert await ran(box, again) == (cold, "started ahead, used once")
