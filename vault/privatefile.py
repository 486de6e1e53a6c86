"""A file that only this user can read or change: read with suspicion, written once and whole.

Trusted to believe a file only if no other user could have read or planted it, and to create one
only where there is none, durably, and for this user alone. Raises `RootError`.
"""

import contextlib
import errno
import os
import shlex
import stat
from pathlib import Path

from vault.errors import Code, RootError


def read_private(path: Path, most: int) -> bytes:
    """The content, up to one byte more than `most`: whoever gets that many knows it is too much."""
    try:
        # O_NONBLOCK: a FIFO planted at this path must not stop the start for ever.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        descriptor = os.open(path, flags)
    except (OSError, ValueError) as error:
        raise _failed(path, error) from None
    try:
        # The open descriptor is judged, not the path: the path can be swapped in between.
        _judge(path, os.fstat(descriptor))
        return os.read(descriptor, most + 1)
    except OSError as error:
        raise _failed(path, error) from None
    finally:
        os.close(descriptor)


def write_private(path: Path, content: bytes) -> None:
    """Write a new file, durably; refuses with ROOT_EXISTS if there is one."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except (OSError, ValueError) as error:
        raise _failed(path, error) from None
    try:
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            os.fchmod(descriptor, 0o600)  # a strange umask may have taken bits away
            file.write(content)
            os.fsync(descriptor)
        _sync_directory(path.parent)
    except OSError as error:
        # Half a root would be found at the next start; nothing is sealed under it yet.
        with contextlib.suppress(OSError):
            path.unlink()
        raise _failed(path, error) from None


def remove_private(path: Path) -> None:
    """Overwrite the content and unlink the file; nothing happens if it is not there."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _failed(path, error) from None
    try:
        status = os.fstat(descriptor)
        _judge(path, status)
        # On most file systems this reaches the very blocks; on those that copy, it does no harm.
        os.write(descriptor, bytes(status.st_size))
        os.fsync(descriptor)
        path.unlink()
        _sync_directory(path.parent)
    except OSError as error:
        raise _failed(path, error) from None
    finally:
        os.close(descriptor)


def _judge(path: Path, status: os.stat_result) -> None:
    quoted = shlex.quote(str(path))
    if not stat.S_ISREG(status.st_mode):
        raise _irregular(path)
    if status.st_uid != os.geteuid():
        raise RootError(
            Code.ROOT_WRONG_OWNER,
            f"{path} belongs to user id {status.st_uid}, not to {os.geteuid()}",
            f"if the content is yours: chown {os.geteuid()} -- {quoted}",
        )
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        raise RootError(
            Code.ROOT_EXPOSED,
            f"{path} has mode {mode:04o}: others could have read or changed it",
            f"chmod 600 -- {quoted}",
        )


def _irregular(path: Path) -> RootError:
    return RootError(
        Code.ROOT_NOT_REGULAR,
        f"{path} is not a regular file",
        "put the file itself at that path",
    )


def _failed(path: Path, error: Exception) -> RootError:
    number = error.errno if isinstance(error, OSError) else None
    if number == errno.ENOENT:
        return RootError(
            Code.ROOT_ABSENT,
            f"{path} does not exist",
            "restore the file; a new root key cannot open what an old one sealed",
        )
    if number == errno.EEXIST:
        return RootError(
            Code.ROOT_EXISTS,
            f"{path} exists already and is not overwritten",
            "keep it: secrets may be sealed under it",
        )
    if number == errno.ELOOP:
        return _irregular(path)
    reason = os.strerror(number) if number else "the path is not possible"
    return RootError(
        Code.ROOT_UNUSABLE,
        f"{path} cannot be used: {reason}",
        "check the path, its directory's permissions and the free space",
    )


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
