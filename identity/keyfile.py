"""Private files: written once for this user alone, and not believed if others had access.

Trusted to keep a private key from other users of the machine, and not to load a key that another
user could have read or planted. Never overwrites, never follows a symbolic link in the last
component, never repairs permissions by itself: a key that was exposed may already be copied, so a
person has to decide. Raises `KeyFileError` and nothing else. The directories above belong to
whoever calls this.
"""

import contextlib
import errno
import os
import shlex
import stat
from pathlib import Path
from typing import Final, NoReturn

from identity.errors import Code, KeyFileError

MAX_BYTES: Final = 65_536


def write_private(path: Path, data: bytes) -> None:
    """Create `path` with mode 0600 and this content, durably; an existing file is refused."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(path, flags, 0o600)
    except FileExistsError:
        raise KeyFileError(
            Code.FILE_EXISTS,
            f"{path} exists already and is not overwritten",
            "move it away first, if it is really no longer needed",
        ) from None
    except (OSError, ValueError) as error:
        _unusable(path, "created", error)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)  # a strange umask may have taken bits away
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        _sync_directory(path.parent)
    except OSError as error:
        # Half a key under the final name would look like a key at the next start.
        with contextlib.suppress(OSError):
            path.unlink()
        _unusable(path, "written", error)


def load_private(path: Path, limit: int = MAX_BYTES) -> bytes:
    """Read a private file of at most `limit` bytes, if only this user could have touched it."""
    # O_NONBLOCK: a FIFO planted at this path must not stop the start for ever.
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags)
    except FileNotFoundError:
        raise KeyFileError(
            Code.FILE_ABSENT, f"{path} does not exist", "run `stockade up` once to initialise"
        ) from None
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno == errno.ELOOP:
            _irregular(path, "a symbolic link")
        _unusable(path, "opened", error)
    try:
        # The open descriptor is judged, not the path: the path can be swapped in between.
        _judge(path, os.fstat(descriptor))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            data = file.read(limit + 1)
    except OSError as error:
        _unusable(path, "read", error)
    finally:
        os.close(descriptor)
    if len(data) > limit:
        raise KeyFileError(
            Code.FILE_TOO_LARGE,
            f"{path} holds more than {limit} bytes",
            "restore the right file; this one is no key",
        )
    return data


def _judge(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        _irregular(path, "not a regular file")
    if status.st_uid != os.geteuid():
        raise KeyFileError(
            Code.FILE_WRONG_OWNER,
            f"{path} belongs to user id {status.st_uid}, not to {os.geteuid()}",
            f"if the content is yours: chown {os.geteuid()} -- {_quoted(path)}",
        )
    exposed = stat.S_IMODE(status.st_mode) & 0o077
    if exposed:
        raise KeyFileError(
            Code.FILE_EXPOSED,
            f"{path} has mode {stat.S_IMODE(status.st_mode):04o}: others could have read or "
            "changed it",
            f"chmod 600 -- {_quoted(path)}",
        )


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def _irregular(path: Path, what: str) -> NoReturn:
    raise KeyFileError(
        Code.FILE_NOT_REGULAR, f"{path} is {what}", "put the file itself at that path"
    )


def _unusable(path: Path, verb: str, error: Exception) -> NoReturn:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    raise KeyFileError(
        Code.FILE_UNUSABLE,
        f"{path} cannot be {verb}: {reason}",
        "check the path, its directory's permissions and the free space",
    ) from error
