"""Runs a control on the host: the program of an attack, without the sandbox.

Trusted to leave no process of it: each is in a process group of its own, which is killed when its
time is over or its caller is cancelled. Raises OSError only.
"""

import contextlib
import os
import signal
from collections.abc import Callable, Sequence

import anyio

from sandbox import spawn, streams
from sandbox.attacks.attack import How, Outside
from sandbox.descriptors import Descriptors
from sandbox.settings import ProcessSettings

_ENV = "/usr/bin/env"
# Every namespace of its own and every capability over them, the host's files, no filter.
_NAMESPACES = (
    *("--dev-bind", "/", "/", "--proc", "/proc", "--die-with-parent"),
    *("--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc"),
    *("--unshare-uts", "--unshare-cgroup", "--cap-add", "ALL", "--uid", "0", "--gid", "0"),
)
_MAX_SAID = 256 * 1024


def command(settings: ProcessSettings, how: How, program: Sequence[str]) -> list[str]:
    """What to start for `program` to run in this way."""
    if how == "most":
        return list(program)
    dropped = spawn.without_root(settings)
    if how == "user":
        return [*dropped, *program]
    return [*dropped, settings.bubblewrap, *_NAMESPACES, "--", *program]


async def run_outside(
    settings: ProcessSettings,
    wanted: Outside,
    program: Sequence[str],
    text: bytes,
    heard: Callable[[bytes], None],
) -> bool:
    """Run it to its end, or to the end of its time; whether it had to be killed."""
    assigned = [f"{name}={value}" for name, value in wanted.environment.items()]
    argv = command(settings, wanted.how, [_ENV, *assigned, *program])
    with Descriptors() as fds:
        stdin, stdout = fds.pipe(), fds.pipe()
        os.set_blocking(stdin[1], False)
        os.set_blocking(stdout[0], False)
        child = spawn.spawn(argv, (stdin[0], stdout[1], stdout[1]), wanted.descriptors)
        fds.own(child.pidfd)
        fds.close(stdin[0], stdout[1])
        try:
            with anyio.move_on_after(wanted.seconds) as time:
                async with anyio.create_task_group() as group:
                    group.start_soon(streams.feed, stdin[1], memoryview(text), fds.close)
                    group.start_soon(_listen, stdout[0], heard)
                    await anyio.wait_readable(child.pidfd)
                    group.cancel_scope.cancel()
            with contextlib.suppress(BlockingIOError):
                heard(os.read(stdout[0], _MAX_SAID))  # what it said last
            return time.cancelled_caught
        finally:
            _kill(child)


async def _listen(stdout: int, heard: Callable[[bytes], None]) -> None:
    total = 0
    while total < _MAX_SAID and (data := await streams.read(stdout, 65536)):
        total += len(data)
        heard(data)


def _kill(child: spawn.Child) -> None:
    # The group is the child's own: see setpgroup in `spawn`.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    spawn.kill(child.pidfd)
    os.waitpid(child.pid, 0)
