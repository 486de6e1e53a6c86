"""The scratch file systems of a run, measured from outside: how many files, and whether full.

bubblewrap bounds a tmpfs in bytes only, so files are counted here, from time to time, and a tool
that fails with its scratch full is told from one that merely fails. Read-only. A host on which the
sandbox's root cannot be looked into (root without CAP_SYS_PTRACE) gives no figures: it is `barred`,
and the enforcement report says so. Raises nothing.
"""

import os
from pathlib import Path

from sandbox.descriptors import Descriptors
from sandbox.limits import Limits

_PLACES = ("/tmp", "/dev/shm")  # noqa: S108 - inside
_PAGE = os.sysconf("SC_PAGE_SIZE")
_LEAST_FILES = 1024
# So many files, or pages, are taken down in less time than it takes to have another thread do it.
_FEW = 256
_OPEN = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def most_files(limits: Limits) -> int:
    """How many files a scratch may have: as a disk of that size would, one for every 4 KiB."""
    return max(_LEAST_FILES, limits.tmp_bytes // 4096)


class Scratch:
    """Of one run. A descriptor keeps the file system after its namespace is gone."""

    def __init__(self, limits: Limits, fds: Descriptors) -> None:
        self._pages = -(-limits.tmp_bytes // _PAGE)
        self._most = most_files(limits)
        self._fds = fds
        self._open: list[int] = []
        self.full = False
        self.too_many = False
        self.barred = False
        self._held = 0

    @property
    def heavy(self) -> bool:
        """Whether so much was in it that to take it down takes long. See `let_go`."""
        return self._held > _FEW

    def let_go(self) -> None:
        """Close it. The last that holds it takes it down: 20 ms where a bomb has filled it."""
        held, self._open = self._open, []
        self._fds.close(*held)

    @property
    def pinned(self) -> bool:
        """Whether there is anything to look at."""
        return bool(self._open)

    def pin(self, init: int) -> bool:
        """Take hold of them, once the sandbox's init has built them; whether that worked."""
        if self._open:
            return True
        found = []
        try:
            for place in _PLACES:
                fd = self._fds.own(os.open(f"/proc/{init}/root{place}", _OPEN))
                found.append(fd)
                # Before they are built, or had we been led elsewhere, this is another file system.
                if os.fstatvfs(fd).f_blocks != self._pages or _is_ours(fd, place):
                    raise FileNotFoundError
        except OSError as fault:
            self.barred = isinstance(fault, PermissionError)
            self._fds.close(*found)
            return False
        self._open, self.barred = found, False
        return True

    def look(self) -> None:
        """Measure them now. `full` is as of now, `too_many` stays."""
        seen = [os.fstatvfs(fd) for fd in self._open]
        self._held = sum(one.f_files - one.f_ffree + one.f_blocks - one.f_bfree for one in seen)
        self.full = any(one.f_bavail == 0 for one in seen)
        self.too_many |= any(one.f_files - one.f_ffree > self._most for one in seen)


def _is_ours(fd: int, place: str) -> bool:
    try:
        return os.fstat(fd).st_dev == Path(place).stat().st_dev
    except FileNotFoundError:
        return False
