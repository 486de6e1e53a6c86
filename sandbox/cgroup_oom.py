"""Whether a group ran out of memory, also when somebody else has removed it before we look.

What a version 1 group counts goes with it, and a container's groups are Docker's to remove, as
soon as its first process is dead: under gVisor that is the one that the kernel kills. The kernel
tells it by an event too, and what it has told stays: once for each time the memory is exhausted,
and once more when the group is gone. Trusted to say yes only if it was told so. To ask for it takes
write access to the group; where that, or version 1, is missing there is nothing to ask. Raises
nothing.
"""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

import anyio

from sandbox.cgroup import RunGroup, write
from sandbox.cgroup_v1 import GroupV1

# The kernel tells of a removal from a queue: when it is idle, at once.
_TOLD_SECONDS = 1.0


@dataclass(slots=True)
class Exhaustion:
    """What the kernel tells of the memory of one group."""

    _group: Path
    _fd: int
    _told: int = 0

    async def seen(self) -> bool:
        """Whether memory was exhausted. Waits, where the group is gone, until all has been told."""
        with anyio.move_on_after(_TOLD_SECONDS):
            while True:
                with contextlib.suppress(BlockingIOError):
                    self._told += os.eventfd_read(self._fd)
                # Looked at after what was told: what still is cannot have told of its removal.
                if self._told > 1 or self._group.exists():
                    return self._told > 0
                await anyio.wait_readable(self._fd)
        return False

    def close(self) -> None:
        """Be told nothing more."""
        os.close(self._fd)


def exhaustion(group: RunGroup) -> Exhaustion | None:
    """Be told from now on; None where that cannot be."""
    memory = group.directories.get("memory") if isinstance(group, GroupV1) else None
    if memory is None:
        return None
    told = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    try:
        control = os.open(memory / "memory.oom_control", os.O_RDONLY | os.O_CLOEXEC)
        try:
            write(memory / "cgroup.event_control", f"{told} {control}")
        finally:
            os.close(control)
    except OSError:
        os.close(told)
        return None
    return Exhaustion(memory, told)
