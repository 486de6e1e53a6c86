"""The ways into a container and out of it that do not lead through the engine.

What Docker attaches passes two processes of the engine on its way in, a millisecond of every call,
and lies in their memory. Where we may look at the descriptors of a container's first process, the
pipe it reads from can be opened there, and what is written to it is in the container at once. That
the pipe stays open remains the engine's business. So with what comes out, where the launcher has
pipes of its own for that. Trusted to open none but those; gives -1 (or none) where there is any
doubt or no permission, and then the engine's way is taken. Raises nothing.
"""

import contextlib
import os
import re
import select
import stat
from collections.abc import Sequence
from pathlib import Path

_NUMBER = re.compile(rb"[0-9]{1,4}\Z")
_PIPE = re.compile(r"pipe:\[[0-9]+\]\Z")
_WRITES = os.O_WRONLY | os.O_RDWR


def open_input(pid: int, pidfd: int) -> int:
    """A descriptor to write to what process `pid` reads, which `pidfd` proves to be the one meant.

    gVisor's kernel has its guests' standard streams at numbers of its own: it is the one pipe that
    the process only reads from.
    """
    if pidfd < 0:
        return -1
    try:
        place = _only_read(Path(f"/proc/{pid}/fd"))
        fd = -1 if place is None else os.open(place, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return -1
    if fd >= 0 and (_ended(pidfd) or not stat.S_ISFIFO(os.fstat(fd).st_mode)):
        os.close(fd)  # the number may be another process's by now
        return -1
    return fd


def open_outputs(pid: int, pidfd: int, numbers: Sequence[bytes]) -> tuple[int, ...]:
    """Descriptors to read from what `pid` says are its pipes; all of them, or none."""
    found: list[int] = []
    for number in numbers:
        fd = -1
        if pidfd >= 0 and _NUMBER.match(number):
            with contextlib.suppress(OSError):
                place = f"/proc/{pid}/fd/{number.decode()}"
                fd = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        found.append(fd)
    there = -1 not in found and not _ended(pidfd)
    if there and all(stat.S_ISFIFO(os.fstat(fd).st_mode) for fd in found):
        return tuple(found)
    for fd in found:
        if fd >= 0:
            os.close(fd)
    return ()


def _only_read(directory: Path) -> Path | None:
    """The descriptor of the one pipe that is read from and not written to there, if it is one."""
    read: dict[str, Path] = {}
    written = set()
    for place in directory.iterdir():
        name = os.readlink(place)  # noqa: PTH115 - it is no path
        if _PIPE.match(name):
            flags = (directory.parent / "fdinfo" / place.name).read_text()
            if int(flags.partition("flags:")[2].split()[0], 8) & _WRITES:
                written.add(name)
            else:
                read[name] = place
    found = [place for name, place in read.items() if name not in written]
    return found[0] if len(found) == 1 else None


def _ended(pidfd: int) -> bool:
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(0))
