"""The operator's folder of policies, read as one whole and only when nobody is writing to it.

Trusted never to give half of a change: a file that somebody has open for writing is not read (the
kernel says so, by a lease), nor a folder that changed while it was read. Refuses a folder or file
that another user could write to, since whoever writes there changes policy. Raises `BundleError`
for what cannot be read.
"""

import fcntl
import hashlib
import os
import signal
import stat
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from daemon.names import as_text
from policy.bundle import load_directory
from policy.errors import BundleError, Problem

MAX_ENTRIES = 4096


@dataclass(frozen=True, slots=True)
class Folder:
    """What was read."""

    files: Mapping[str, str] = field(repr=False)
    digest: str


def signature(path: Path) -> str:
    """Changes when anything in the folder does: names, sizes, times, owners, modes."""
    state = hashlib.sha256()
    try:
        with os.scandir(path) as entries:
            names = sorted(entry.name for entry in entries if entry.name.endswith(".cedar"))
        for name in ("", *names[:MAX_ENTRIES]):
            found = (path / name).lstat()
            facts = (found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
            state.update(repr((name, facts, found.st_mode, found.st_uid)).encode())
    except OSError as error:
        return f"unreadable: {error.strerror}"
    return state.hexdigest()


def read(path: Path) -> Folder | None:
    """The whole folder, or None while somebody writes to it; raises `BundleError`."""
    before = signature(path)
    with ExitStack() as leases:
        for name in _names(path):
            if not leases.enter_context(_quiet(path / name)):
                return None
        files = load_directory(path)
        if signature(path) != before:
            return None
    state = hashlib.sha256()
    for name in sorted(files):
        for part in (name.encode(), files[name].encode()):
            state.update(len(part).to_bytes(8, "big") + part)
    return Folder(files, state.hexdigest())


def _names(path: Path) -> list[str]:
    _check_closed(path, "")
    try:
        names = sorted(entry.name for entry in path.iterdir() if entry.name.endswith(".cedar"))
    except OSError as error:
        raise _refusal("", str(error.strerror), "make it a folder again") from None
    for name in names[:MAX_ENTRIES]:
        _check_closed(path / name, name)
    return names[:MAX_ENTRIES]


def _check_closed(path: Path, name: str) -> None:
    try:
        found = path.lstat()
    except OSError as error:
        raise _refusal(name, str(error.strerror), "put the folder back") from None
    if found.st_uid not in (os.geteuid(), 0):
        fix = f"chown {os.geteuid()} -- {path}"
        raise _refusal(name, f"it belongs to user id {found.st_uid}", fix)
    if not stat.S_ISLNK(found.st_mode) and found.st_mode & 0o022:
        raise _refusal(name, "other users can write to it", f"chmod go-w -- {path}")


@contextmanager
def _quiet(path: Path) -> Iterator[bool]:
    """Whether nobody has the file open for writing; while this lasts, nobody is let to unseen."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        yield True  # reading it will say what is wrong
        return
    try:
        yield _lease(fd)
    finally:
        os.close(fd)


def _lease(fd: int) -> bool:
    try:
        # Who opens it for writing meanwhile waits until we close it; the signal that tells us so is
        # by default one that ends the process.
        fcntl.fcntl(fd, fcntl.F_SETSIG, signal.SIGURG)
        fcntl.fcntl(fd, fcntl.F_SETLEASE, fcntl.F_RDLCK)
    except BlockingIOError:
        return False
    except OSError:
        return True  # a file system without leases: the pause before reading has to do
    return True


def _refusal(name: str, message: str, fix: str) -> BundleError:
    return BundleError((Problem(as_text(name), 0, "POLICY_UNREADABLE", message, fix),))
