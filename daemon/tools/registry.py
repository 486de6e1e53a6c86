"""The tools that may be called: one immutable snapshot of what was found, and what was refused.

Trusted to let one broken tool take no other down, to let no operator's tool carry a builtin's
name, and to leave nothing out in silence: every entry of a tools folder is a tool or is refused
with its reason. Names are lower-case ASCII and equal the folder's name, so two spellings of one
name cannot exist; lookup is exact.

Loading reads folders and writes the store; the ``Registry`` itself only answers. A reload makes a
new one, and calls in flight keep the one they started with. ``load`` raises nothing of its own:
refusals are values.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from daemon.tools.errors import FolderError, ManifestError, Reason, ShadowError, ToolError
from daemon.tools.folder import ToolFolder, load_folder
from daemon.tools.manifest import MANIFEST, Manifest, Origin
from daemon.tools.snapshot import SnapshotStore
from daemon.tools.tree import ToolDigest

BUILTIN_TOOLS = Path(__file__).with_name("builtin")


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool that may be called: its contract, its digest, and the copy a run mounts at /tool."""

    manifest: Manifest
    digest: ToolDigest
    snapshot: Path
    origin: Origin

    @property
    def name(self) -> str:
        """The tool's one name."""
        return self.manifest.name


@dataclass(frozen=True, slots=True)
class Refused:
    """A folder that is no tool, and why."""

    folder: Path
    error: ToolError


@dataclass(frozen=True, slots=True)
class Registry:
    """What was found at one moment."""

    by_name: Mapping[str, Tool]
    refused: tuple[Refused, ...]
    reserved: frozenset[str]

    @property
    def tools(self) -> tuple[Tool, ...]:
        """All tools, by name."""
        return tuple(self.by_name[name] for name in sorted(self.by_name))

    def get(self, name: str) -> Tool | None:
        """The tool of exactly this name; None is a reason to deny, not an error."""
        return self.by_name.get(name)

    def with_tool(self, folder: ToolFolder, store: SnapshotStore) -> Registry:
        """A registry with one more of the operator's tools, or another in its place."""
        name = folder.manifest.name
        tool = _admit(folder, Origin.OPERATOR, name, self.reserved, store)
        return Registry(
            MappingProxyType({**self.by_name, name: tool}),
            tuple(r for r in self.refused if r.folder.name != name),
            self.reserved,
        )

    def without(self, name: str) -> Registry:
        """A registry without one of the operator's tools."""
        _check_not_reserved(name, name, self.reserved)
        remaining = {n: tool for n, tool in self.by_name.items() if n != name}
        return Registry(MappingProxyType(remaining), self.refused, self.reserved)


def host_has_program(path: str) -> bool:
    """Whether this host has an executable file at an absolute path."""
    return Path(path).is_file() and os.access(path, os.X_OK)


def load(builtin_dir: Path, operator_dir: Path | None, store: SnapshotStore) -> Registry:
    """Load the builtin tools, then the operator's; a missing operator's folder holds none."""
    loader = _Loader(store)
    loader.load_all(builtin_dir, Origin.BUILTIN)
    if operator_dir is not None and os.path.lexists(operator_dir):
        loader.load_all(operator_dir, Origin.OPERATOR)
    return Registry(MappingProxyType(loader.tools), tuple(loader.refused), loader.reserved)


class _Loader:
    """Collects tools and refusals of one load."""

    def __init__(self, store: SnapshotStore) -> None:
        self.tools: dict[str, Tool] = {}
        self.refused: list[Refused] = []
        self.reserved: frozenset[str] = frozenset()
        self._store = store

    def load_all(self, parent: Path, origin: Origin) -> None:
        names = self._entries(parent)
        if origin is Origin.BUILTIN:
            # By folder, so that a builtin which fails to load cannot be replaced either.
            self.reserved = frozenset(names)
        for name in names:
            try:
                tool = self._load(parent / name, origin)
            except ToolError as error:
                self.refused.append(Refused(parent / name, error))
            else:
                self.tools[tool.name] = tool

    def _entries(self, parent: Path) -> Iterable[str]:
        try:
            return sorted(os.listdir(parent))  # noqa: PTH208 - names, not paths
        except OSError as error:
            unreadable = FolderError(
                ascii(str(parent)),
                f"cannot be read: {error.strerror}",
                Reason.FOLDER_UNREADABLE,
                "Make it a folder the daemon's user may read.",
            )
            self.refused.append(Refused(parent, unreadable))
            return ()

    def _load(self, path: Path, origin: Origin) -> Tool:
        label = f"{path.parent.name}/{path.name}"
        if origin is Origin.OPERATOR:
            _check_not_reserved(path.name, label, self.reserved)
        folder = load_folder(path, origin)
        return _admit(folder, origin, label, self.reserved, self._store)


def _admit(
    folder: ToolFolder,
    origin: Origin,
    label: str,
    reserved: frozenset[str],
    store: SnapshotStore,
) -> Tool:
    """What every tool passes, whichever way its files came."""
    if origin is Origin.OPERATOR:
        _check_not_reserved(folder.manifest.name, label, reserved)
    _check_program(folder.manifest, f"{label}/{MANIFEST}")
    return Tool(folder.manifest, folder.digest, store.keep(folder), origin)


def _check_not_reserved(name: str, label: str, reserved: frozenset[str]) -> None:
    if name in reserved:
        raise ShadowError(
            Reason.TOOL_SHADOWS_BUILTIN,
            f"{label}: a builtin tool has this name",
            "Rename the folder and the tool.",
        )


def _check_program(manifest: Manifest, file: str) -> None:
    program = manifest.argv[0]
    inside = manifest.image or not isinstance(program, str) or program.startswith("/tool/")
    if inside or host_has_program(str(program)):
        return
    raise ManifestError(
        file,
        "argv.0",
        f"this host has no program {program}",
        Reason.MANIFEST_ARGV_FILE,
        "Install the program, or name one that is installed.",
    )
