"""Writing a set of files to disk so that they survive a crash whole.

Trusted to write exactly the files given, below a folder it makes itself, and to sync every file
and folder before it returns; the caller then renames the whole into place. Modes are set by
descriptor, so the umask does not matter.

Errors: ``OSError``, turned into a ``ToolError`` by the callers.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from daemon.durable import sync_folder
from daemon.tools.tree import FileEntry

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Modes:
    """The modes of what is written."""

    plain: int
    executable: int
    folder: int


READ_ONLY = Modes(plain=0o444, executable=0o555, folder=0o555)
EDITABLE = Modes(plain=0o644, executable=0o755, folder=0o755)


def write_tree(root: Path, files: Mapping[str, FileEntry], modes: Modes) -> None:
    """Write files below a new folder; the paths were checked when the files were frozen."""
    root.mkdir(mode=0o700)
    folders = {root}
    for path, entry in files.items():
        target = root / path
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folders.update(p for p in target.parents if p.is_relative_to(root))
        descriptor = os.open(target, _CREATE, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(entry.content)
            stream.flush()
            os.fchmod(descriptor, modes.executable if entry.executable else modes.plain)
            os.fsync(descriptor)
    for folder in sorted(folders, reverse=True):  # the deepest first: the last may be read-only
        folder.chmod(modes.folder)
        sync_folder(folder)
