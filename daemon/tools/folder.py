"""A tool's folder, read once into a value: from disk or from the wire.

Trusted to read only what lies inside the folder: every step is opened by descriptor, relative to
the descriptor of the folder above and without following links, so a rename or a link put in
between reading one name and the next leads nowhere else. Only regular files with one name are
taken; a symbolic link, a device, a fifo, a hard link (whose bytes have an owner elsewhere) or a
file anyone may write refuses the whole folder. The tools of this package may be hard links, as its
code may: some installers link both from where they keep what they fetched. What was read is what
is hashed, kept and run: later changes of the folder change nothing.

Errors: ``FolderError`` for the files, ``ManifestError`` for the manifest.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from daemon.tools.errors import FolderError, Reason
from daemon.tools.manifest import Manifest, Origin, parse_manifest
from daemon.tools.tree import (
    MAX_BYTES,
    MAX_FILES,
    MAX_LEVELS,
    FileEntry,
    ToolDigest,
    check_part,
    freeze_files,
    too_large,
    tree_digest,
)

_MAX_ENTRIES = 2 * MAX_FILES  # files and folders
_NOT_FOLLOWED = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NOCTTY
# O_NONBLOCK: a fifo swapped in must not hang the daemon before fstat can refuse it.
_OPEN_FILE = os.O_RDONLY | os.O_NONBLOCK | _NOT_FOLLOWED
_OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | _NOT_FOLLOWED


@dataclass(frozen=True, slots=True)
class ToolFolder:
    """A tool as it was read: its manifest, its files, the digest over all of them."""

    manifest: Manifest
    files: Mapping[str, FileEntry] = field(repr=False)
    digest: ToolDigest


@dataclass(frozen=True, slots=True)
class UploadEntry:
    """One file as a client sent it."""

    path: str
    content: bytes = field(repr=False)
    executable: bool = False


def load_folder(path: Path, origin: Origin = Origin.OPERATOR) -> ToolFolder:
    """Read a tool's folder from disk; the folder's name must be the tool's."""
    files = read_files(path, linked=origin is Origin.BUILTIN)
    where = f"{path.parent.name}/{path.name}"
    manifest = parse_manifest(files, where=where, folder=path.name, origin=origin)
    return ToolFolder(manifest, files, tree_digest(files))


def parse_upload(entries: Iterable[UploadEntry]) -> ToolFolder:
    """The same from the wire, where the manifest alone names the tool."""
    collected: dict[str, FileEntry] = {}
    for count, entry in enumerate(entries):
        if count >= MAX_FILES:
            raise too_large(entry.path)
        if entry.path in collected:
            raise FolderError(
                ascii(entry.path),
                "the path is given twice",
                Reason.FOLDER_COLLISION,
                "Send every file once.",
            )
        collected[entry.path] = FileEntry(entry.content, entry.executable)
    files = freeze_files(collected)
    manifest = parse_manifest(files, where="", folder=None, origin=Origin.OPERATOR)
    return ToolFolder(manifest, files, tree_digest(files))


def read_files(path: Path, *, linked: bool = False) -> Mapping[str, FileEntry]:
    """Read every file below a folder, within the caps; with `linked`, also hard links."""
    try:
        with _opened(str(path), _OPEN_FOLDER, None) as folder:
            reader = _Reader(linked=linked)
            reader.walk(folder, ())
    except OSError as error:
        raise FolderError(
            ascii(error.filename or str(path)),
            f"cannot be read: {error.strerror}",
            Reason.FOLDER_UNREADABLE,
            "Make it a real folder of regular files that the daemon's user may read.",
        ) from None
    return freeze_files(reader.files)


class _Reader:
    """Collects the files of one folder, counting as it goes."""

    def __init__(self, *, linked: bool) -> None:
        self.files: dict[str, FileEntry] = {}
        self._linked = linked
        self._entries = 0
        self._bytes = 0

    def walk(self, folder: int, above: tuple[str, ...]) -> None:
        _refuse_writable(os.fstat(folder), "/".join(above) or ".")
        for name in self._names(folder):
            parts = (*above, name)
            shown = "/".join(parts)
            check_part(name, shown)
            if len(parts) > MAX_LEVELS:
                raise too_large(shown)
            kind = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode
            if stat.S_ISDIR(kind):
                with _opened(name, _OPEN_FOLDER, folder) as inner:
                    self.walk(inner, parts)
            elif stat.S_ISREG(kind):
                with _opened(name, _OPEN_FILE, folder) as file:
                    self.files[shown] = self._read(file, shown)
            else:
                raise _not_regular(shown)

    def _names(self, folder: int) -> list[str]:
        names = []
        with os.scandir(folder) as found:
            for entry in found:
                self._entries += 1
                if self._entries > _MAX_ENTRIES:
                    raise too_large(entry.name)
                names.append(entry.name)
        return sorted(names)

    def _read(self, file: int, shown: str) -> FileEntry:
        # Asked of the descriptor: what the name meant a moment ago does not count.
        status = os.fstat(file)
        if not stat.S_ISREG(status.st_mode):
            raise _not_regular(shown)
        if status.st_nlink != 1 and not self._linked:
            raise FolderError(
                shown,
                "has another name elsewhere (a hard link)",
                Reason.FOLDER_HARD_LINK,
                "Copy the file instead of linking it.",
            )
        _refuse_writable(status, shown)
        with os.fdopen(file, "rb", closefd=False) as stream:
            content = stream.read(MAX_BYTES - self._bytes + 1)
        self._bytes += len(content)
        if self._bytes > MAX_BYTES:
            raise too_large(shown)
        return FileEntry(content, bool(status.st_mode & stat.S_IXUSR))


@contextmanager
def _opened(name: str, flags: int, folder: int | None) -> Iterator[int]:
    descriptor = os.open(name, flags, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _refuse_writable(status: os.stat_result, shown: str) -> None:
    if status.st_mode & stat.S_IWOTH:
        raise FolderError(
            shown,
            "may be written by anyone on this host",
            Reason.FOLDER_WRITABLE,
            "chmod o-w it, and check what it holds.",
        )


def _not_regular(shown: str) -> FolderError:
    return FolderError(
        shown,
        "neither a regular file nor a folder",
        Reason.FOLDER_NOT_REGULAR,
        "Replace links by copies; devices, sockets and fifos have no place in a tool.",
    )
