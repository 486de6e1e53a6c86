"""The descriptors of one run: made here, owned here, closed here, whatever happens.

Every descriptor is close-on-exec; only `spawn` passes chosen ones on. Anything secret is in
memory files (memfd), never on a disk. Raises OSError only, which the tier turns into an outcome.
"""

import fcntl
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import Self

from sandbox.spec import SecretBytes

# The child's low numbers stay free: with RLIMIT_NOFILE at its least, bubblewrap still needs some.
_FIRST = 64


class Descriptors:
    """A bag of descriptors, closed together at the latest when the block ends."""

    def __init__(self) -> None:
        self._open: set[int] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close(*self._open)

    def own(self, fd: int) -> int:
        """Take over `fd` as it is."""
        self._open.add(fd)
        return fd

    def lift(self, fd: int) -> int:
        """Take over `fd`, which a child may get, at a number out of the child's way."""
        lifted = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _FIRST)
        os.close(fd)
        return self.own(lifted)

    def close(self, *fds: int) -> None:
        """Close these now; one that is already closed is left alone."""
        for fd in fds:
            if fd in self._open:
                self._open.discard(fd)
                os.close(fd)

    def pipe(self) -> tuple[int, int]:
        """A pipe: read end, write end."""
        read, write = os.pipe2(os.O_CLOEXEC)
        return self.lift(read), self.lift(write)

    def gate(self) -> int:
        """A pipe that is both ends at once, for bubblewrap's --block-fd.

        The child holds a write end too, so it never sees the end of file: if the daemon dies
        before it let the child go, the child stays shut instead of running without limits.
        """
        read, write = self.pipe()
        both = self.lift(os.open(f"/proc/self/fd/{read}", os.O_RDWR | os.O_CLOEXEC))
        self.close(read, write)
        return both

    def memory(self, content: SecretBytes) -> int:
        """A file in memory with `content`, to be read from its beginning."""
        fd = self.lift(os.memfd_create("stockade", os.MFD_CLOEXEC))
        self.fill(fd, content)
        return fd

    @staticmethod
    def fill(fd: int, content: SecretBytes) -> None:
        """Write `content` into a memory file and rewind it."""
        with memoryview(content) as whole:
            rest = whole.cast("B")
            while rest:
                rest = rest[os.write(fd, rest) :]
        os.lseek(fd, 0, os.SEEK_SET)

    def place(self, path: str) -> int:
        """A handle on a host path, pinned. Raises FileNotFoundError if it is not canonical."""
        fd = self.lift(os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC))
        # With O_PATH a last component that is a link opens the link itself; a link in any other
        # shows in the real path: what was judged is not what was opened.
        linked = stat.S_ISLNK(os.fstat(fd).st_mode)
        if linked or Path(f"/proc/self/fd/{fd}").readlink().as_posix() != path:
            self.close(fd)
            raise FileNotFoundError(path)
        return fd
