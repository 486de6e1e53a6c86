"""A folder for the time of one piece of work, which is removed also if its maker is killed.

Its maker holds a lock on it, which ends with the process, however that ends. So whoever comes later
can tell a folder that is worked in from one that was left, and removes the latter. Trusted to
remove nothing but folders of this user's with exactly this prefix that nobody holds; a link is
nobody's folder. Raises OSError.
"""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from daemon.trees import remove_tree

BACKUP, RESTORE = ".stockade-backup-", ".stockade-restore-"


@contextmanager
def working_folder(prefix: str, place: Path) -> Iterator[Path]:
    """A new folder in `place`, for as long as the context lasts."""
    folder, held = _made(prefix, place)
    try:
        yield folder
    finally:
        with suppress(OSError):
            remove_tree(folder)
        os.close(held)


def _made(prefix: str, place: Path) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=place))
        held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        fcntl.flock(held, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(folder.stat(), os.fstat(held)):
                return folder, held
        os.close(held)  # taken for a left one in the moment before it was held


def remove_left(prefix: str, place: Path) -> list[Path]:
    """Removes what was left in `place` by others that were killed; what it was."""
    removed = []
    for folder in sorted(place.glob(f"{prefix}*")):
        with suppress(OSError):
            if _removed(folder):
                removed.append(folder)
    return removed


def _removed(folder: Path) -> bool:
    held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(held).st_uid != os.geteuid():
            return False
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)  # OSError: somebody works in it
        remove_tree(folder)
    finally:
        os.close(held)
    return True
