"""Which control groups this process may make groups in: read from /proc, then tried.

Nothing is assumed about where hierarchies are mounted. Raises nothing: what cannot be read or
written is not there.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sandbox import cgroup_v1
from sandbox.cgroup import Cgroups, NoCgroups, read, write
from sandbox.cgroup_v1 import CgroupsV1
from sandbox.cgroup_v2 import CONTROLLERS, CgroupsV2

_LEAF = "stockade-daemon"


@dataclass(frozen=True, slots=True)
class Hierarchy:
    """One mounted hierarchy: its controllers (empty for v2) and the process's own group."""

    controllers: frozenset[str]
    root: Path
    own: Path


def hierarchies(process: str = "self") -> Iterator[Hierarchy]:
    """The hierarchies a process is in, as far as this one can see them."""
    paths: dict[frozenset[str], str] = {}
    for line in Path(f"/proc/{process}/cgroup").read_text().splitlines():
        _, listed, path = line.split(":", 2)
        paths[frozenset(name for name in listed.split(",") if name)] = path
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, _, right = line.partition(" - ")
        shown, point = (_unescape(text) for text in left.split()[3:5])
        kind, _, options = right.split(" ", 2)
        given = set(options.rsplit(" ", 1)[-1].split(","))
        names = next((each for each in paths if each and each <= given), frozenset[str]())
        if kind not in ("cgroup", "cgroup2") or bool(names) is (kind == "cgroup2"):
            continue
        own = _below(paths.get(names), shown)
        if own is not None:
            yield Hierarchy(names, Path(point), Path(point) / own)


def _unescape(text: str) -> str:
    return text.encode().decode("unicode_escape") if "\\" in text else text


def _below(path: str | None, shown: str) -> str | None:
    """The group's place below the mount, which may show only a part of the hierarchy."""
    if path is None or path.startswith("/.."):
        return None
    if shown != "/":
        if path != shown and not path.startswith(shown + "/"):
            return None
        path = path[len(shown) :]
    return path.lstrip("/")


def find() -> Cgroups:
    """The best this host and user allow: v2 with all controllers, else v1, else none."""
    try:
        found = list(hierarchies())
    except (OSError, ValueError):
        return NoCgroups("the control groups of this process cannot be read")
    for hierarchy in found:
        if not hierarchy.controllers:
            parent = _delegated(hierarchy)
            if parent is not None:
                return CgroupsV2(parent, hierarchy.root)
    parents = {}
    for hierarchy in found:
        for name in hierarchy.controllers & cgroup_v1.CONTROLLERS:
            if os.access(hierarchy.own, os.W_OK):
                parents[name] = hierarchy.own
    if not parents:
        return NoCgroups()
    roots = {h.root for h in found if h.controllers & set(parents)}
    return CgroupsV1(parents, frozenset(roots))


def _delegated(hierarchy: Hierarchy) -> Path | None:
    """A v2 group in which our controllers can be given to children, or None.

    Processes may only be in leaves, so the daemon's own group serves if the daemon is alone in
    it and can step aside into a leaf; its parent serves if systemd has already made that leaf
    (DelegateSubgroup=).
    """
    for parent in (hierarchy.own.parent, hierarchy.own):
        if hierarchy.root not in (parent, *parent.parents) or not os.access(parent, os.W_OK):
            continue
        if parent != hierarchy.own and not _given_by_systemd(parent):
            continue  # a sibling of ours would escape what bounds the daemon
        try:
            if not set(CONTROLLERS) <= set(read(parent / "cgroup.controllers").split()):
                continue
            if parent == hierarchy.own:
                _step_aside(parent)
            missing = set(CONTROLLERS) - set(read(parent / "cgroup.subtree_control").split())
            if missing:
                write(parent / "cgroup.subtree_control", " ".join(f"+{n}" for n in missing))
        except OSError:
            continue
        return parent
    return None


def _given_by_systemd(group: Path) -> bool:
    for name in ("user.delegate", "trusted.delegate"):
        try:
            if os.getxattr(group, name) == b"1":
                return True
        except OSError:
            continue
    return False


def _step_aside(group: Path) -> None:
    if read(group / "cgroup.procs").split() == [str(os.getpid())]:
        leaf = group / _LEAF
        leaf.mkdir(exist_ok=True)
        write(leaf / "cgroup.procs", "0")
