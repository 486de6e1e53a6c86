"""The bytes of tools that were compared with their digest, while their copies stay as they were.

What runs is what was judged: the daemon's copy of a tool is read in full and compared before a run
(`daemon.tools.snapshot`). That takes a thread and the files' length, for each call again. So the
bytes are kept, and of the files on disk only the inodes are looked at: whoever writes to a file,
replaces, adds or removes one changes a time that nobody can set.

Trusted to give, of a digest, only bytes that were compared with it, and only while every file and
folder of the copy looks as it did then; whatever looks otherwise is read and compared again. A copy
that was changed a moment before it was compared is not kept: what changes twice within one tick of
the file system's clock looks the same.

Belongs to the event loop. Leaves: SnapshotError.
"""

import os
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Final

import anyio.to_thread

from daemon.tools.snapshot import check_copy
from daemon.tools.tree import FileEntry, ToolDigest

MOST_BYTES: Final = 16 * 1024 * 1024
# Of all tools there are, more than are in use at a time; each look is a few microseconds a file.
MOST_FILES: Final = 64
SETTLED_SECONDS: Final = 2.0

Look = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class _Kept:
    """A copy as it was compared."""

    path: Path
    files: Mapping[str, FileEntry] = field(repr=False)
    names: tuple[str, ...]
    look: Look

    @property
    def size(self) -> int:
        return sum(len(entry.content) for entry in self.files.values())


class Compared:
    """See the module."""

    def __init__(
        self, most_bytes: int = MOST_BYTES, settled_seconds: float = SETTLED_SECONDS
    ) -> None:
        self._most_bytes = most_bytes
        self._settled_seconds = settled_seconds
        self._kept: OrderedDict[ToolDigest, _Kept] = OrderedDict()  # last used, last
        self._bytes = 0

    async def files(self, path: Path, digest: ToolDigest) -> Mapping[str, FileEntry]:
        """The files of the copy at `path`, which are what the digest says."""
        kept = self._kept.get(digest)
        if kept is not None:
            if kept.path == path and _look(path, kept.names) == kept.look:
                self._kept.move_to_end(digest)
                return kept.files
            self._forget(digest)
        files, settled = await anyio.to_thread.run_sync(self._compare, path, digest)
        if settled is not None:
            self._keep(digest, settled)
        return files

    def _compare(
        self, path: Path, digest: ToolDigest
    ) -> tuple[Mapping[str, FileEntry], _Kept | None]:
        """In a thread: the files, and what may be kept of them."""
        began_ns = time.time_ns()
        files = check_copy(path, digest)
        names = _names(files)
        look = _look(path, names)
        if look is None or len(names) > MOST_FILES:
            return files, None
        changed_ns = max(one[-1] for one in look)
        settled = changed_ns < began_ns - self._settled_seconds * 1e9
        return files, _Kept(path, files, names, look) if settled else None

    def _keep(self, digest: ToolDigest, kept: _Kept) -> None:
        self._forget(digest)  # another call may have been as fast
        self._kept[digest] = kept
        self._bytes += kept.size
        while self._bytes > self._most_bytes:
            self._forget(next(iter(self._kept)))

    def _forget(self, digest: ToolDigest) -> None:
        if (kept := self._kept.pop(digest, None)) is not None:
            self._bytes -= kept.size


def _names(files: Iterable[str]) -> tuple[str, ...]:
    """Every file and folder of a copy, itself included."""
    parents = {str(parent) for name in files for parent in PurePosixPath(name).parents}
    return (*sorted(parents | {"."}), *files)


def _look(path: Path, names: Iterable[str]) -> Look | None:
    """What is there, by inode; when it was changed last. None if something is not there."""
    try:
        found = [os.lstat(f"{path}/{name}") for name in names]
    except OSError:
        return None
    return tuple(
        (one.st_dev, one.st_ino, one.st_mode, one.st_size, one.st_mtime_ns, one.st_ctime_ns)
        for one in found
    )
