"""Content-addressed copies of tools: what a run mounts, never the operator's folder.

Trusted to hold, under ``ROOT/DIGEST``, exactly the files whose digest that is: written beside,
synced, made read-only, renamed into place, so a crash leaves either the whole tool or a leftover
that the next start removes. ``verify`` reads everything again and compares; a copy that does not
match is never repaired in silence and never given out. ``check_copy`` gives the bytes themselves
that were compared, so that what runs need not be read a second time.

Errors: ``SnapshotError``.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from daemon.durable import sync_folder
from daemon.tools.errors import FolderError, Reason, SnapshotError
from daemon.tools.folder import ToolFolder, read_files
from daemon.tools.tree import FileEntry, ToolDigest, parse_digest, tree_digest
from daemon.tools.writing import READ_ONLY, write_tree
from daemon.trees import remove_tree

_INCOMING = ".incoming-"


class SnapshotStore:
    """The store below one private folder; one daemon at a time."""

    def __init__(self, root: Path, random_name: Callable[[], str]) -> None:
        self._root = root
        self._random_name = random_name
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for leftover in root.glob(f"{_INCOMING}*"):
                remove_tree(leftover, ignore_errors=True)
        except OSError as error:
            raise _failed(error) from None

    def keep(self, folder: ToolFolder) -> Path:
        """Write a tool's files, unless they are there; give the path of the verified copy."""
        target = self._path(folder.digest)
        if not os.path.lexists(target):
            incoming = self._root / f"{_INCOMING}{self._random_name()}"
            try:
                write_tree(incoming, folder.files, READ_ONLY)
                self._publish(incoming, target)
            except OSError as error:
                remove_tree(incoming, ignore_errors=True)
                raise _failed(error) from None
        return self.verify(folder.digest)

    def verify(self, digest: ToolDigest) -> Path:
        """Read a copy again in full; give its path only if it still is what its name says."""
        target = self._path(digest)
        check_copy(target, digest)
        return target

    def _path(self, digest: ToolDigest) -> Path:
        if parse_digest(digest) is None:
            raise SnapshotError(
                Reason.SNAPSHOT_MISSING, "not a digest of a tool", "Name the tool by its digest."
            )
        return self._root / digest

    def _publish(self, incoming: Path, target: Path) -> None:
        try:
            incoming.rename(target)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            # Another load was first; verify() judges what it left.
            remove_tree(incoming, ignore_errors=True)
        sync_folder(self._root)


def check_copy(path: Path, digest: ToolDigest) -> Mapping[str, FileEntry]:
    """Read a tool's files in full; give them only if they are what the digest says."""
    if not os.path.lexists(path):
        raise SnapshotError(
            Reason.SNAPSHOT_MISSING,
            f"there is no copy of tool {digest}",
            "Reload the tools; the copy is made from the tool's folder.",
        )
    try:
        files = read_files(path)
        found = tree_digest(files)
    except FolderError as error:
        raise _changed(digest, error.message) from None
    if found != digest:
        raise _changed(digest, "its files have another digest")
    return files


def _failed(error: OSError) -> SnapshotError:
    return SnapshotError(
        Reason.SNAPSHOT_FAILED,
        f"the store of tools cannot be written: {error.strerror}",
        "Check that the data directory is writable and has space.",
    )


def _changed(digest: ToolDigest, why: str) -> SnapshotError:
    return SnapshotError(
        Reason.SNAPSHOT_CHANGED,
        f"the copy of tool {digest} was changed: {why}",
        "Find out who wrote to the data directory; then remove the copy and reload the tools.",
    )
