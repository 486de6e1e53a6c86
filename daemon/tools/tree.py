"""The files of a tool as a value, and the digest that names them.

Trusted to say which sets of files may be a tool, and to give two different sets two different
digests. Pure: it opens nothing. A path is ASCII, relative, without ``..`` and without hidden
parts, and no two paths differ only in case, so no file system can read one as another.

Format (frozen; a change takes a new domain string): SHA-256 over the domain, the number of files
as 4 bytes big-endian and, by path in byte order, the path's length as 4 bytes, the path, one byte
0 or 1 for the owner's execute bit, and the SHA-256 of the content.

Errors: ``FolderError``.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NewType

from daemon.tools.errors import FolderError, Reason

ToolDigest = NewType("ToolDigest", str)

DOMAIN = b"stockade.tool.v1\0"
MAX_FILES = 256
MAX_BYTES = 8 * 1024 * 1024
MAX_PATH = 240
MAX_LEVELS = 8

_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One regular file: its bytes, and whether its owner may execute it."""

    content: bytes = field(repr=False)
    executable: bool = False


def freeze_files(files: Mapping[str, FileEntry]) -> Mapping[str, FileEntry]:
    """Check paths, collisions, count and size; give an immutable mapping in path order."""
    check_paths(files)
    if len(files) > MAX_FILES or sum(len(f.content) for f in files.values()) > MAX_BYTES:
        raise too_large(".")
    return MappingProxyType(dict(sorted(files.items())))


def tree_digest(files: Mapping[str, FileEntry]) -> ToolDigest:
    """The digest of a set of files, in the format above."""
    state = hashlib.sha256(DOMAIN + struct.pack(">I", len(files)))
    for path, entry in sorted(files.items()):
        name = path.encode("ascii")
        state.update(struct.pack(">I", len(name)) + name + bytes((entry.executable,)))
        state.update(hashlib.sha256(entry.content).digest())
    return ToolDigest(state.hexdigest())


def parse_digest(text: str) -> ToolDigest | None:
    """The text as a digest, or None if it is not one (it becomes a path: nothing else may)."""
    return ToolDigest(text) if _DIGEST.fullmatch(text) else None


def check_part(part: str, shown: str) -> None:
    """Refuse a file or folder name outside the grammar."""
    if not _PART.fullmatch(part):
        raise FolderError(
            ascii(shown),
            "a name outside [A-Za-z0-9._+-], empty, hidden, or a step outside the folder",
            Reason.FOLDER_NAME,
            "Rename or remove it; hidden files, such as .git, are not part of a tool.",
        )


def check_paths(paths: Iterable[str]) -> None:
    """Refuse paths that are not plain, and sets of paths that collide."""
    seen: dict[str, str] = {}
    for path in paths:
        parts = path.split("/")
        if len(path) > MAX_PATH or len(parts) > MAX_LEVELS:
            raise too_large(path)
        for part in parts:
            check_part(part, path)
        for depth in range(1, len(parts) + 1):
            prefix, is_file = "/".join(parts[:depth]), depth == len(parts)
            spelling = f"{prefix}{'' if is_file else '/'}"
            # A second file of that name, a name in another case, a file where a folder is.
            if seen.setdefault(prefix.lower(), spelling) != spelling:
                raise _collision(path)


def too_large(entry: str) -> FolderError:
    """The error for a folder beyond the caps."""
    return FolderError(
        ascii(entry),
        f"more than {MAX_FILES} files, {MAX_BYTES} bytes, {MAX_LEVELS} levels "
        f"or {MAX_PATH} characters of path",
        Reason.FOLDER_TOO_LARGE,
        "A tool's folder holds the tool alone; keep data and environments elsewhere.",
    )


def _collision(path: str) -> FolderError:
    return FolderError(
        ascii(path),
        "the path is given twice, or differs from another only in case",
        Reason.FOLDER_COLLISION,
        "Give every file one path that differs in more than case.",
    )
