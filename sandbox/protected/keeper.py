"""Holds the protected paths of a workspace for the time of a run, and puts right afterwards.

Everything here blocks on the file system: it is for a thread. Any number of runs may be in one
workspace; those that overlap are compared with what was there before the first of them, or each
would take for given what the one before has planted. Raises `WorkspaceError` from `hold`; from
`release` nothing, since then the run is over.
"""

import os
import stat
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

from sandbox.protected import ghosts, repositories
from sandbox.protected.errors import WorkspaceError
from sandbox.protected.ghosts import Ghosts, Holding
from sandbox.protected.gitleads import leads
from sandbox.protected.names import GIT, GIT_NAMES
from sandbox.protected.repositories import Content, State
from sandbox.protected.tree import Walker, kind, opened, opened_path
from sandbox.spec import Mount

Path = tuple[str, ...]

_COMMON = "commondir"


@dataclass(slots=True)
class _Before:
    """What a workspace had before the runs that are in it now, and how many those are."""

    runs: int = 0
    repositories: Mapping[Path, State] | None = None
    compared: dict[Path, Content | None] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)


@dataclass(slots=True)
class Held:
    """What is held for one run: the mounts that protect, and what to compare with."""

    workspace: str
    root: int
    mounts: tuple[Mount, ...]
    folders: bool = False
    ghosts: list[Path] = field(default_factory=list)
    compared: dict[Path, Content | None] = field(default_factory=dict)
    before: Mapping[Path, State] = field(default_factory=dict)


class Keeper:
    """Of all workspaces of a daemon; any thread."""

    def __init__(self) -> None:
        self._ghosts = Ghosts()
        self._walkers: dict[str, Walker] = {}
        self._before: dict[str, _Before] = {}
        self._lock = threading.Lock()

    def hold(
        self, workspace: str, target: str, names: Sequence[str], *, folders: bool = False
    ) -> Held:
        """Protect `names` in a workspace that is mounted writable at `target`.

        `folders`: for a tier that cannot mount over a socket.
        """
        try:
            return self._hold(workspace, target, names, folders)
        except OSError as error:
            raise WorkspaceError("what is", error.strerror or "it changes") from None

    def _hold(self, workspace: str, target: str, names: Sequence[str], folders: bool) -> Held:
        with ExitStack() as undo:
            root = os.open(workspace, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            held = Held(workspace, root, (), folders=folders)
            before = self._enter(workspace)
            undo.callback(self._let_go, held)
            with before.lock:
                paths = _paths(workspace, root, names)
                mounts = [mount for path in paths for mount in self._one(held, target, path)]
                if (GIT, _COMMON) not in paths:
                    held.compared[(GIT, _COMMON)] = None
                for path, now in held.compared.items():
                    held.compared[path] = before.compared.setdefault(path, now)
                held.mounts = tuple(dict.fromkeys(mounts))
                if before.repositories is None:
                    before.repositories = repositories.look(self._walker(workspace), root)
                held.before = before.repositories
            undo.pop_all()
            return held

    def _enter(self, workspace: str) -> _Before:
        with self._lock:
            before = self._before.setdefault(workspace, _Before())
            before.runs += 1
            return before

    def _leave(self, workspace: str) -> None:
        with self._lock:
            self._before[workspace].runs -= 1
            if not self._before[workspace].runs:
                del self._before[workspace]

    def release(self, held: Held) -> list[str]:
        """Let go of them, and put right what is further down; what was put aside."""
        try:
            aside = [*_compared(held)]
            walker = self._walker(held.workspace)
            aside += repositories.put_right(walker, held.root, held.before)
        finally:
            self._let_go(held)
        return aside

    def clean(self, workspace: str, names: Sequence[str]) -> list[str]:
        """Remove the stand-ins that a daemon left when it was killed; which they were."""
        left = []
        with opened(workspace) as root:
            paths = _paths(workspace, root, names)
            every = {path[:depth] for path in paths for depth in range(1, len(path) + 1)}
            for path in sorted(every, key=len, reverse=True):  # what is inside first
                with suppress(OSError), opened_path(root, path[:-1]) as folder:
                    if ghosts.remove(path[-1], folder):
                        left.append("/".join(path))
        return left

    def _walker(self, workspace: str) -> Walker:
        return self._walkers.setdefault(workspace, Walker())

    def _let_go(self, held: Held) -> None:
        for path in reversed(held.ghosts):
            self._ghosts.release(held.workspace, held.root, path)
        held.ghosts.clear()
        if held.root >= 0:
            os.close(held.root)
            held.root = -1
            self._leave(held.workspace)

    def _one(self, held: Held, target: str, path: Path) -> Iterator[Mount]:
        """The mounts that keep one path as it is: itself, and what it lies in from being moved.

        Where it does not exist, what does not exist of the way to it, from there on.
        """
        for depth in range(1, len(path) + 1):
            here = path[:depth]
            try:
                holding = self._ghosts.hold(held.workspace, held.root, here, folders=held.folders)
                if holding is Holding.CLOSED:
                    return
                if holding is Holding.OURS:
                    held.ghosts.append(here)
                with opened_path(held.root, here[:-1]) as folder:
                    mode = kind(here[-1], folder)
                    if mode is not None and stat.S_ISLNK(mode):
                        # It cannot be mounted on; it is compared instead.
                        held.compared[here] = repositories.content(here[-1], folder)
                        return
            except OSError as error:
                raise WorkspaceError("/".join(here), error.strerror or "it changes") from None
            whole = depth == len(path) or mode is None or not stat.S_ISDIR(mode)
            shown = "/".join(here)
            yield Mount(f"{held.workspace}/{shown}", f"{target}/{shown}", writable=not whole)
            if whole:
                return


def _paths(workspace: str, root: int, names: Sequence[str]) -> list[Path]:
    """What is to be held: the list, and in the repository at the top what git acts on."""
    paths = [tuple(name.split("/")) for name in names]
    paths += _of_git(workspace, root)
    # What is in a protected folder is protected with it.
    return [path for path in paths if not any(path[:n] in paths for n in range(1, len(path)))]


def _of_git(workspace: str, root: int) -> list[Path]:
    mode = kind(GIT, root)
    if mode is None or not stat.S_ISDIR(mode):
        # None yet, and none is to be made where whoever opens the folder would run it at once.
        return [(GIT,)]
    with opened(GIT, root) as folder:
        if kind("HEAD", folder) is None:
            return [(GIT,)]
        found = repositories.content("config", folder)
    config = found.value if found is not None else b""
    if not isinstance(config, bytes):
        raise WorkspaceError(f"{GIT}/config", "it is no file of a usual size")
    # With a `commondir`, git would no longer look at `core.worktree`.
    names = (name for name in GIT_NAMES if name != _COMMON or b"worktree" not in config.lower())
    return [*((GIT, name) for name in names), *leads(workspace, root)]


def _compared(held: Held) -> Iterator[str]:
    for path, was in held.compared.items():
        try:
            with opened_path(held.root, path[:-1]) as folder:
                now = repositories.content(path[-1], folder)
                if now is not None and now != was:
                    yield repositories.replace(path[-1], folder, was, "/".join(path))
        except OSError:
            continue
