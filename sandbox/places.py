"""A mount's source on the host: held by a handle, so that what is judged is what is mounted.

Refuses, with `SpecRefusedError`, what is not there, is reached through a link, or lies where the
user of the run may not go.
"""

import os

from sandbox.descriptors import Descriptors
from sandbox.errors import SpecRefusedError
from sandbox.hostview import reachable

Identity = tuple[int, int]
"""Device and inode."""


def pin(source: str, uid: int, fds: Descriptors) -> int:
    """A handle on it, for a run that goes by this uid where we are root and could reach it all."""
    try:
        fd = fds.place(source)
        if os.geteuid() == 0 and not reachable(source, uid):
            raise PermissionError(source)
    except PermissionError:
        raise SpecRefusedError(
            "MOUNT_UNREACHABLE",
            "a mount source lies where the user of the run may not go",
            "move it, or let others search the directories above it",
        ) from None
    except OSError:
        raise SpecRefusedError(
            "MOUNT_SOURCE",
            "a mount source does not exist, or is reached through a link",
            "give the real path of something that exists",
        ) from None
    return fd


def identity(fd: int) -> Identity:
    """Which file or directory it is, whatever its name."""
    found = os.fstat(fd)
    return found.st_dev, found.st_ino
