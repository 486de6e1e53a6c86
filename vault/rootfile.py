"""The root key in a file that only this user can read.

Trusted to create the file only when told to, and to believe it only if no other user could have
read or planted it. A file is weaker than a keychain (whoever reads the disk has the root), so it is
used only where the operator chose it by name. Raises `RootError`.
"""

import contextlib
import errno
import os
import shlex
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, final

from vault.errors import Code, RootError
from vault.rootkey import RootKey, generate_root, parse_root

_MAX_BYTES: Final = 128  # the stored form has 98, and perhaps a newline


@final
@dataclass(frozen=True, slots=True)
class FileRoot:
    """A root key in a 0600 file."""

    path: Path
    random: Callable[[int], bytes] = field(default=os.urandom, repr=False)

    def describe(self) -> str:
        """Name the file."""
        return f"file {self.path} (readable by whoever reads the disk as this user)"

    def load(self) -> RootKey:
        """Read the root key, if only this user could have touched the file."""
        try:
            # O_NONBLOCK: a FIFO planted at this path must not stop the start for ever.
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
            descriptor = os.open(self.path, flags)
        except (OSError, ValueError) as error:
            raise self._failed(error) from None
        try:
            # The open descriptor is judged, not the path: the path can be swapped in between.
            self._judge(os.fstat(descriptor))
            stored = os.read(descriptor, _MAX_BYTES + 1)
        except OSError as error:
            raise self._failed(error) from None
        finally:
            os.close(descriptor)
        return parse_root(stored)

    def create(self) -> RootKey:
        """Write a new root key, durably, and read it back."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            descriptor = os.open(self.path, flags, 0o600)
        except (OSError, ValueError) as error:
            raise self._failed(error) from None
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, 0o600)  # a strange umask may have taken bits away
                file.write(generate_root(self.random).encode("ascii") + b"\n")
                file.flush()
                os.fsync(descriptor)
            _sync_directory(self.path.parent)
        except OSError as error:
            # Half a root would be found at the next start; nothing is sealed under it yet.
            with contextlib.suppress(OSError):
                self.path.unlink()
            raise self._failed(error) from None
        return self.load()

    def _judge(self, status: os.stat_result) -> None:
        path = shlex.quote(str(self.path))
        if not stat.S_ISREG(status.st_mode):
            raise self._irregular()
        if status.st_uid != os.geteuid():
            raise RootError(
                Code.ROOT_WRONG_OWNER,
                f"{self.path} belongs to user id {status.st_uid}, not to {os.geteuid()}",
                f"if the content is yours: chown {os.geteuid()} -- {path}",
            )
        mode = stat.S_IMODE(status.st_mode)
        if mode & 0o077:
            raise RootError(
                Code.ROOT_EXPOSED,
                f"{self.path} has mode {mode:04o}: others could have read or changed it",
                f"chmod 600 -- {path}",
            )

    def _irregular(self) -> RootError:
        return RootError(
            Code.ROOT_NOT_REGULAR,
            f"{self.path} is not a regular file",
            "put the file itself at that path",
        )

    def _failed(self, error: Exception) -> RootError:
        number = error.errno if isinstance(error, OSError) else None
        if number == errno.ENOENT:
            return RootError(
                Code.ROOT_ABSENT,
                f"{self.path} does not exist",
                "restore the file; a new root key cannot open what an old one sealed",
            )
        if number == errno.EEXIST:
            return RootError(
                Code.ROOT_EXISTS,
                f"{self.path} exists already and is not overwritten",
                "keep it: secrets may be sealed under it",
            )
        if number == errno.ELOOP:
            return self._irregular()
        reason = os.strerror(number) if number else "the path is not possible"
        return RootError(
            Code.ROOT_UNUSABLE,
            f"{self.path} cannot be used: {reason}",
            "check the path, its directory's permissions and the free space",
        )


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
