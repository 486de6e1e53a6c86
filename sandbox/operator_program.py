"""A program of the operator's own, started by the daemon: outside of every sandbox, yet bounded.

What it is and what it is given comes from the configuration, never from a call: a fixed argv
without a shell, what there is to say on standard input, an environment of nothing but PATH. It has
the daemon's user and network, since it is to tell somebody; a pid namespace of its own, so that it
is ended with everything it started, also if the daemon dies; and the daemon's data is not there for
it. Leaves OSError, with what happened.
"""

import os
from collections.abc import Sequence

import anyio

from sandbox import spawn
from sandbox.descriptors import Descriptors

BUBBLEWRAP = "/usr/bin/bwrap"
PATH = "/usr/local/bin:/usr/bin:/bin"


async def run(
    argv: Sequence[str],
    stdin: bytes,
    *,
    seconds: float,
    hidden: Sequence[str] = (),
    bubblewrap: str = BUBBLEWRAP,
) -> None:
    """Returns when it ended with 0; after `seconds` it is killed. Belongs to the main thread."""
    with Descriptors() as fds:
        null = fds.lift(os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC))
        given = fds.memory(stdin)
        child = spawn.spawn([bubblewrap, *_around(hidden), "--", *argv], (given, null, null))
        fds.own(child.pidfd)
        status: int | None = None
        try:
            with anyio.move_on_after(seconds):
                await anyio.wait_readable(child.pidfd)
                status = spawn.reap(child.pidfd)
        finally:
            if status is None:
                # Its namespace's first process dies with it, and all the others with that one.
                spawn.kill(child.pidfd)
                with anyio.CancelScope(shield=True):
                    await anyio.wait_readable(child.pidfd)
                spawn.reap(child.pidfd)
    if status is None:
        raise OSError(0, f"it was killed after {seconds:g} seconds")
    if status != 0:
        raise OSError(0, f"it ended with status {status}")


def _around(hidden: Sequence[str]) -> list[str]:
    around = ["--unshare-user", "--unshare-pid", "--die-with-parent", "--new-session"]
    around += ["--dev-bind", "/", "/", "--proc", "/proc"]
    for path in hidden:
        around += ["--tmpfs", path]
    return [*around, "--clearenv", "--setenv", "PATH", PATH, "--chdir", "/"]
