"""One daemon to a data directory.

The lock is the kernel's (flock), so it ends with its process however that ends; the file stays.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from daemon.errors import StartError


@contextmanager
def data_directory_lock(path: Path) -> Iterator[None]:
    """Holds the data directory; raises `StartError` (HOME_IN_USE) if another process does."""
    descriptor = _open(path)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartError(
                f"another daemon holds {path.parent}",
                code="HOME_IN_USE",
                fix="`stockade down` ends it; `stockade status` shows it",
            ) from None
        yield
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StartError(
            f"the lock {path} cannot be opened: {error.strerror}",
            code="DIRECTORY_UNUSABLE",
            fix="the data directory must be writable, and its lock a plain file or absent",
        ) from None
