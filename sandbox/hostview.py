"""Where a path inside the sandbox lies on the host, before the sandbox exists.

Used to refuse a missing executable or working directory with a clear code before anything is
started. It is a courtesy to the caller, not a control: what runs is what the kernel finds inside
the sandbox. Raises `SpecRefusedError` only.
"""

import os
import posixpath
import stat
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from pathlib import Path
from types import MappingProxyType

from sandbox.errors import SpecRefusedError
from sandbox.paths import ETC_FROM_HOST, within
from sandbox.spec import RunSpec

_MAX_LINKS = 40
_DEFAULT_PATH = "/bin:/usr/bin"  # execvp(3) without PATH
_MADE_DIRECTORIES = ("/", "/etc", "/tmp", "/proc", "/dev", "/dev/shm")  # noqa: S108


@cache
def root_links() -> Mapping[str, str]:
    """The top-level names that are links into /usr on this host, with their targets.

    Looked up once: a host whose /bin changes its nature needs a restart of more than us.
    """
    links = {}
    for name in ("bin", "sbin", "lib", "lib32", "lib64"):
        try:
            links[f"/{name}"] = Path(f"/{name}").readlink().as_posix()
        except OSError:
            continue  # a directory of its own (not usr-merged), or absent
    return MappingProxyType(links)


@cache
def root_directories() -> tuple[str, ...]:
    """The host directories bound at the root: /usr, and what is not merged into it."""
    names = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64")
    return tuple(name for name in names if Path(name).is_dir() and not Path(name).is_symlink())


def reachable(path: str, uid: int) -> bool:
    """Whether `uid`, in no group, may search every directory above `path`. ACLs are not read."""
    for directory in _above(path):
        found = os.stat(directory)  # noqa: PTH116 - before every run; a Path costs as much again
        if not found.st_mode & (0o100 if found.st_uid == uid else 0o001):
            return False
    return True


@lru_cache(maxsize=256)
def _above(path: str) -> tuple[str, ...]:
    return tuple(str(directory) for directory in Path(path).parents)


class HostView:
    """The sandbox's file tree as it will be, looked up on the host.

    `mounts` are targets with their sources. It holds no more than names: what is behind them is
    looked up each time.
    """

    def __init__(self, mounts: Mapping[str, str], secret_files: Iterable[str]) -> None:
        self._links = root_links()
        self._trees = {tree: tree for tree in (*root_directories(), *ETC_FROM_HOST)}
        self._trees.update(mounts)
        self._innermost_first = sorted(self._trees, key=len, reverse=True)
        self._made = set(_MADE_DIRECTORIES)
        for path in (*self._trees, *secret_files):
            self._made.update(parent.as_posix() for parent in Path(path).parents)

    def host_path(self, path: str) -> str | None:
        """The host path behind `path`, which has no links left; None if the sandbox makes it."""
        for tree in self._innermost_first:
            if within(path, tree):
                return posixpath.normpath(self._trees[tree] + path[len(tree) :])
        return None

    def resolve(self, path: str) -> str | None:
        """`path` with every link followed as the sandbox will follow it; None on a loop."""
        pending, done, links = path.split("/")[::-1], "/", 0
        while pending:
            part = pending.pop()
            if part in ("", "."):
                continue
            here = posixpath.normpath(posixpath.join(done, part))
            target = self._link(here)
            if target is None:
                done = here
                continue
            links += 1
            if links > _MAX_LINKS:
                return None
            pending.extend(target.split("/")[::-1])
            done = "/" if target.startswith("/") else done
        return done

    def _link(self, path: str) -> str | None:
        if path in self._links:
            return self._links[path]
        host = self.host_path(path)
        try:
            return None if host is None else os.readlink(host)  # noqa: PTH115 - exact text
        except OSError:
            return None

    def _mode(self, path: str) -> int | None:
        real = self.resolve(path)
        host = None if real is None else self.host_path(real)
        try:
            return None if host is None else os.lstat(host).st_mode
        except OSError:
            return None

    def is_directory(self, path: str) -> bool:
        """Whether the sandbox will have a directory at `path`."""
        if self.resolve(path) in self._made:
            return True
        mode = self._mode(path)
        return mode is not None and stat.S_ISDIR(mode)

    def is_program(self, path: str) -> bool:
        """Whether the sandbox will have a regular, executable file at `path`."""
        mode = self._mode(path)
        return mode is not None and stat.S_ISREG(mode) and bool(mode & 0o111)


@lru_cache(maxsize=64)
def _view(mounts: tuple[tuple[str, str], ...], secret_files: tuple[str, ...]) -> HostView:
    return HostView(dict(mounts), secret_files)


def check_startable(spec: RunSpec) -> None:
    """Refuse a program or working directory the sandbox will not have."""
    mounts = tuple((mount.target, mount.source) for mount in spec.mounts)
    view = _view(mounts, tuple(spec.secret_files))
    if not view.is_directory(spec.cwd):
        raise SpecRefusedError(
            "CWD_MISSING", "the sandbox has no such working directory", "mount it, or use /tmp"
        )
    program = spec.argv[0]
    if "/" in program:
        found = view.is_program(posixpath.join(spec.cwd, program))
    else:
        search = spec.env.get("PATH", _DEFAULT_PATH).split(":")
        found = any(view.is_program(f"{part}/{program}") for part in search if part[:1] == "/")
    if not found:
        raise SpecRefusedError(
            "EXECUTABLE_MISSING",
            "the sandbox has no executable at argv[0]",
            "name a program under /usr, or mount its directory",
        )
    for mount in spec.mounts:
        _check_nested(mount.target, spec, view)


def _check_nested(target: str, spec: RunSpec, view: HostView) -> None:
    """A mount point below another mount must exist: bubblewrap would plant it on the host."""
    outer = [m for m in spec.mounts if m.target != target and within(target, m.target)]
    if not outer:
        return
    parent = max(outer, key=lambda mount: len(mount.target))
    point = Path(parent.source + target[len(parent.target) :])
    if view.resolve(posixpath.dirname(target)) != posixpath.dirname(target) or (
        point.is_symlink() or not point.exists()
    ):
        raise SpecRefusedError(
            "MOUNT_POINT_MISSING", "a mount lies at a place its outer mount lacks", "create it"
        )
