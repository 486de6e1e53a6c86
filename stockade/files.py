"""Writing a file whole: a reader finds the old content or the new, never half of one.

The temporary file is made 0600 beside its target and renamed over it after fsync. Errors of the
file system leave as `OSError`.
"""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

PRIVATE_FOLDER = 0o700


def make_private_folder(folder: Path) -> None:
    """Makes the folder, and those above it, for this user alone. An existing one stays as it is."""
    if folder.is_dir():
        return
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=PRIVATE_FOLDER, exist_ok=True)


def check_replaceable(path: Path) -> None:
    """A file may be renamed over a file. Root would do so over /dev/null or /dev/stdout, too."""
    if path.exists() and not path.is_file():
        raise FileExistsError(errno.EEXIST, "something is there that is not a file", str(path))


@contextmanager
def private_part(path: Path) -> Iterator[BinaryIO]:
    """A new file, mode 0600 whatever the umask, that takes its place at `path` when it is whole."""
    check_replaceable(path)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_whole(path: Path, content: bytes) -> None:
    """Replaces the file at `path`, mode 0600, by rename."""
    check_replaceable(path)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """The rename itself must survive a power cut: a lost key is a lost pairing."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
