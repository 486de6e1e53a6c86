"""Real folders and stores for these tests."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import count
from pathlib import Path

from daemon.tools.folder import ToolFolder, UploadEntry, parse_upload
from daemon.tools.manifest import Origin
from daemon.tools.registry import Tool
from daemon.tools.snapshot import SnapshotStore

MINIMAL = """\
name = "probe"
version = "1.0.0"
summary = "Says what it was given."
argv = ["/bin/echo", "--", "{text}"]

[input]
type = "object"
required = ["text"]

[input.properties.text]
type = "string"

[risk]
data_sensitivity = 0.1
"""


def with_input(properties: str, *, rest: str = "", schema: str = "") -> str:
    """A manifest whose only liberty is its input schema (and keys before it)."""
    return (
        'name = "probe"\nversion = "1"\nsummary = "s"\nargv = ["/bin/true"]\n'
        f'{rest}\n[risk]\ndata_sensitivity = 0\n[input]\ntype = "object"\n{schema}\n'
        f"[input.properties]\n{properties}\n"
    )


def write_tool(
    parent: Path, name: str, manifest: str, files: Mapping[str, bytes] | None = None
) -> Path:
    """A tool's folder on disk."""
    folder = parent / name
    folder.mkdir(parents=True, mode=0o755)
    (folder / "manifest.toml").write_text(manifest)
    for path, content in (files or {}).items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return folder


def uploaded(manifest: str, files: Mapping[str, bytes] | None = None) -> ToolFolder:
    """A tool as if it had come over the wire."""
    sent = {"manifest.toml": manifest.encode(), **(files or {})}
    return parse_upload([UploadEntry(path, content) for path, content in sent.items()])


def as_tool(folder: ToolFolder) -> Tool:
    """A tool to validate arguments against; it is not run."""
    return Tool(folder.manifest, folder.digest, Path("/nowhere"), Origin.OPERATOR)


def open_store(root: Path) -> SnapshotStore:
    """A store with predictable temporary names."""
    numbers = count()
    return SnapshotStore(root / "store", lambda: f"{next(numbers):032x}")
