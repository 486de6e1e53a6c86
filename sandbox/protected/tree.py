"""Walking a tree that others change meanwhile: by descriptor, following no link.

Trusted never to leave the directory it was given: every step is opened relative to the descriptor
above, so whatever is renamed or linked in between leads nowhere else. Raises OSError for the root
alone; what cannot be opened below it is left out.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

MAX_DEPTH = 100
_MAX_KEPT = 100_000
_SETTLED_NS = 2_000_000_000
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def opened(name: str, folder: int | None = None) -> Iterator[int]:
    """A directory, by a name in another; no link is followed."""
    try:
        descriptor = os.open(name, _OPEN, dir_fd=folder)
    except PermissionError:
        _make_readable(name, folder)
        descriptor = os.open(name, _OPEN, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _make_readable(name: str, folder: int | None) -> None:
    """A directory of our own user's that may be searched and not read: what is in it still acts."""
    flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(name, flags, dir_fd=folder)
    try:
        # By descriptor, and so this very directory; fchmod(2) would not take such a one.
        Path(f"/proc/self/fd/{descriptor}").chmod(os.fstat(descriptor).st_mode | 0o500)
    finally:
        os.close(descriptor)


@contextmanager
def opened_path(root: int, parts: tuple[str, ...]) -> Iterator[int]:
    """A directory some steps below `root`; each step is a real directory."""
    descriptor = os.dup(root)
    try:
        for part in parts:
            below = os.open(part, _OPEN, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = below
        yield descriptor
    finally:
        os.close(descriptor)


def kind(name: str, folder: int) -> int | None:
    """The mode of what has this name in a directory, itself; None if there is nothing."""
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return None


@dataclass(slots=True)
class _Listed:
    """What a directory held when it was last read."""

    changed_ns: int
    folders: tuple[str, ...]
    repository: bool
    pointer: bool


@dataclass(slots=True)
class Walker:
    """Finds repositories. Remembers directories that have not changed since they were read.

    That they have not is told by the time of their last change, which nobody can set; a directory
    changed within the last two seconds is read again, as that time may be coarse.
    """

    _kept: dict[tuple[int, int], _Listed] = field(default_factory=dict)

    def repositories(
        self, folder: int, above: tuple[str, ...] = ()
    ) -> Iterator[tuple[tuple[str, ...], int]]:
        """Each directory from here on that git would take for its own, or that points to one.

        With an open descriptor, good until the next step.
        """
        listed = self._list(folder)
        if listed.repository or listed.pointer:
            yield above, folder
        if len(above) >= MAX_DEPTH:
            return
        for name in listed.folders:
            if listed.repository and name == "objects":
                continue  # many, and in none of them anybody works
            try:
                with opened(name, folder) as below:
                    yield from self.repositories(below, (*above, name))
            except OSError:
                continue  # gone meanwhile, or closed to us and so to the tool

    def _list(self, folder: int) -> _Listed:
        status = os.fstat(folder)
        key = (status.st_dev, status.st_ino)
        kept = self._kept.get(key)
        if kept is not None and kept.changed_ns == status.st_ctime_ns:
            return kept
        names, folders = set(), []
        with os.scandir(folder) as entries:
            for entry in entries:
                names.add(entry.name)
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.name)
        listed = _Listed(status.st_ctime_ns, tuple(folders), *_signs(names, folders))
        if status.st_ctime_ns < time.time_ns() - _SETTLED_NS and len(self._kept) < _MAX_KEPT:
            self._kept[key] = listed
        else:
            self._kept.pop(key, None)
        return listed


def _signs(names: set[str], folders: list[str]) -> tuple[bool, bool]:
    """Whether git would take this for a repository's own directory; and for its work tree.

    A work tree is told here only by what is no directory: a `.git` that is one is met by itself.
    """
    repository = "HEAD" in names and ("commondir" in names or {"objects", "refs"} <= names)
    return repository, ".git" in names and ".git" not in folders
