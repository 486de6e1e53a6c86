"""What this process asks of the kernel before it holds a key.

No core dump, wherever the system would send one (a limit alone does not keep one from a program
that core dumps are piped to), and no other process of the same user may read its memory, its
environment or its descriptors. Programs it starts are as they always are: the kernel resets this
when a program is executed. Raises `StartError` where the kernel says no.
"""

import ctypes
import resource
from typing import Final

from daemon.errors import StartError

_PR_SET_DUMPABLE: Final = 4


def keep_memory_private() -> None:
    """Asks for it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise StartError(
            "the kernel does not keep this process's memory to itself (PR_SET_DUMPABLE)",
            code="MEMORY_EXPOSED",
            fix="see what forbids prctl(2) here: a system call filter of a container, perhaps",
        )
