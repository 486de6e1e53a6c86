"""What stands in for a protected path that does not exist: made for a run, gone afterwards.

A mount needs something to be mounted on. So a socket that nobody listens on takes the name
meanwhile: git sees no sockets, opening one fails at once, and it takes no room. Where git would
stumble, a file says what is so anyway. gVisor cannot mount over a socket: there an empty folder,
which git does not see either, takes its place. Runs in one workspace share them; the last one takes
them away.

Trusted to remove only what it made, which carries the sticky bit. Raises OSError.
"""

import contextlib
import errno
import os
import stat
import threading
from collections import Counter
from collections.abc import Mapping
from enum import Enum

from sandbox.protected.tree import kind, opened, opened_path

Path = tuple[str, ...]

_FILE_MODE = 0o1444
_NO_SOCKETS = (errno.EPERM, errno.EINVAL, errno.EOPNOTSUPP)
_FOLDER_MODE = 0o1555
# Read by git as: no settings; and, what is common to all work trees is here.
_SAYS: Mapping[str, bytes] = {"config": b"", "commondir": b".\n"}


class Holding(Enum):
    """How a name is kept from a tool."""

    OURS = "ours"  # by a stand-in
    THERE = "there"  # it exists
    CLOSED = "closed"  # where nobody of our user's may make anything


class Ghosts:
    """Of all workspaces of a daemon; any thread."""

    def __init__(self) -> None:
        self._held: Counter[tuple[str, Path]] = Counter()
        self._lock = threading.Lock()

    def hold(self, workspace: str, root: int, path: Path, *, folders: bool = False) -> Holding:
        """Take the name if it is free, with a folder if so wanted. What is above exists."""
        key = (workspace, path)
        with self._lock, opened_path(root, path[:-1]) as folder:
            mode = kind(path[-1], folder)
            if mode is not None and folders and key in self._held and stat.S_ISSOCK(mode):
                raise OSError(errno.EBUSY, "a run of another tier holds it; try again")
            if mode is None:
                try:
                    _make(path[-1], folder, folders=folders)
                except OSError as error:
                    if not _closed(error, folder):
                        raise
                    return Holding.CLOSED
                self._held[key] = 0
            elif key not in self._held:
                return Holding.THERE
            self._held[key] += 1
            return Holding.OURS

    def release(self, workspace: str, root: int, path: Path) -> None:
        """Give the name back; the last one to do so takes the stand-in away."""
        key = (workspace, path)
        with self._lock:
            self._held[key] -= 1
            if self._held[key] > 0:
                return
            del self._held[key]
            with contextlib.suppress(OSError), opened_path(root, path[:-1]) as folder:
                remove(path[-1], folder)


def _closed(error: OSError, folder: int) -> bool:
    """Whether a tool, which has our rights or fewer, could not make anything there either."""
    if error.errno == errno.EROFS:
        return True
    refused = error.errno in (errno.EACCES, errno.EPERM) and os.geteuid() != 0
    return refused and not os.access(f"/proc/self/fd/{folder}", os.W_OK)


def _make(name: str, folder: int, *, folders: bool) -> None:
    said = _SAYS.get(name)
    if said is not None:
        _make_file(name, folder, said)
        return
    if not folders:
        try:
            os.mknod(name, stat.S_IFSOCK | stat.S_ISVTX | 0o444, dir_fd=folder)
        except OSError as error:
            if error.errno not in _NO_SOCKETS or not os.access(f"/proc/self/fd/{folder}", os.W_OK):
                raise
        else:
            return
    # Wanted, or the file system has no sockets; a folder does as well.
    os.mkdir(name, 0o700, dir_fd=folder)
    with opened(name, folder) as made:
        os.fchmod(made, _FOLDER_MODE)


def _make_file(name: str, folder: int, said: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, 0o600, dir_fd=folder)
    with os.fdopen(descriptor, "wb") as file:
        file.write(said)
        os.fchmod(descriptor, _FILE_MODE)


def remove(name: str, folder: int) -> bool:
    """Remove one of ours, if that is what has this name."""
    mode = kind(name, folder)
    if mode is None or not mode & stat.S_ISVTX:
        return False
    if stat.S_ISDIR(mode) and stat.S_IMODE(mode) == _FOLDER_MODE:
        os.rmdir(name, dir_fd=folder)  # which nothing but an empty one is
        return True
    ours = stat.S_ISSOCK(mode) or (stat.S_ISREG(mode) and stat.S_IMODE(mode) == _FILE_MODE)
    if ours:
        os.unlink(name, dir_fd=folder)
    return ours
