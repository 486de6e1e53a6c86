"""Start bubblewrap, from the thread that calls: its death is the sandbox's death.

posix_spawn, because asyncio's subprocess costs 0.8 ms more and reaps behind our back. Trusted to
let through exactly the descriptors it is given, to reset signals (Python ignores SIGPIPE and
SIGXFSZ, and an ignored signal stays ignored in the tool) and to give up host root first. Raises
OSError only.
"""

import contextlib
import os
import select
import signal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio

from sandbox.settings import ProcessSettings

_RESET = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
_CLOSEFROM: int | None = getattr(os, "POSIX_SPAWN_CLOSEFROM", None)  # Python 3.13 and later


@dataclass(frozen=True, slots=True)
class Child:
    """A process we started and must reap."""

    pid: int
    pidfd: int


def launcher(
    argv: Sequence[str],
    join: Sequence[Path],
    settings: ProcessSettings,
    bounds: Sequence[str] = (),
) -> list[str]:
    """What to exec before `argv`: enter the groups, set the limits, give up host root, go on.

    Entering comes first, so nothing of the run is ever outside its groups, and from the process
    itself, because moving another one blocks for a grace period of the kernel. `bounds` are
    commands of the shell that does the entering; there is none without `join`.
    """
    out: list[str] = []
    if join:
        steps = [f'echo 0 >"${{{number}}}"' for number in range(1, len(join) + 1)]
        steps += bounds
        script = f'{" && ".join(steps)} && shift {len(join)} && exec "$@"; exit 125'
        out += [settings.shell, "-c", script, "stockade-run", *(str(path) for path in join)]
    return [*out, *without_root(settings), *argv]


def without_root(settings: ProcessSettings) -> list[str]:
    """What to exec before a program that must not have host root; nothing if we are not root."""
    if os.geteuid() != 0:
        return []
    # chroot(8) to where we are, for its --userspec: 0.4 ms faster than setpriv. "+" keeps it from
    # asking the name service for the number. Leaving uid 0 clears the capabilities.
    identity = f"+{settings.root_becomes}"
    return [settings.chroot, f"--userspec={identity}:{identity}", "--groups=", "/"]


def spawn(argv: Sequence[str], stdio: Sequence[int], passed: Iterable[int] = ()) -> Child:
    """Start `argv` with these as descriptors from 0 on, and `passed` at their own numbers."""
    keep = sorted(passed)
    # dup2 onto itself: posix_spawn then clears close-on-exec (glibc 2.29, musl).
    actions = [(os.POSIX_SPAWN_DUP2, fd, to) for to, fd in enumerate(stdio)]
    actions += [(os.POSIX_SPAWN_DUP2, fd, fd) for fd in keep]
    closes = [(os.POSIX_SPAWN_CLOSE, fd) for fd in _inheritable(len(stdio)) if fd not in keep]
    if _CLOSEFROM is not None:
        closes.append((_CLOSEFROM, max([len(stdio) - 1, *keep]) + 1))
    pid = os.posix_spawn(
        argv[0],
        [part.encode("utf-8", "surrogateescape") for part in argv],
        {},
        file_actions=[*actions, *closes],
        setpgroup=0,  # Ctrl-C at the daemon's terminal is the daemon's to handle
        setsigmask=[],
        setsigdef=_RESET,
    )
    try:
        return Child(pid, os.pidfd_open(pid))
    except OSError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def _inheritable(first: int) -> list[int]:
    """Descriptors from `first` on that some library of the daemon left without close-on-exec."""
    found = []
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 - hundreds of names, every run
        fd = int(name)
        with contextlib.suppress(OSError):
            if fd >= first and os.get_inheritable(fd):
                found.append(fd)
    return found


def kill(pidfd: int) -> None:
    """SIGKILL; a process that is gone already is what was wanted."""
    with contextlib.suppress(ProcessLookupError):
        signal.pidfd_send_signal(pidfd, signal.SIGKILL)


def ended(pidfd: int) -> bool:
    """Whether the process has ended; not waited for."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))


async def until_ended(pidfd: int) -> None:
    """Until the process has ended. Who has is told at once, without a turn of the event loop."""
    if not ended(pidfd):
        await anyio.wait_readable(pidfd)


def reap(pidfd: int) -> int | None:
    """The wait status as a return code (negative: signal), or None if it is not (yet) ours."""
    try:
        done = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
    except ChildProcessError:
        return None
    if done is None:
        return None
    return done.si_status if done.si_code == os.CLD_EXITED else -done.si_status
