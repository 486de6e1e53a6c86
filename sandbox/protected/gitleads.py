"""Where the repository at the top of a workspace leads git: to what it reads, and what it runs.

An operator's own configuration names folders of hooks, and other files of settings that name more;
a hook, or the configuration, may be a link to a file of the work tree. Whoever may write to any of
these has git run what they like. Goes as far as the workspace does, and not for ever. Raises
`WorkspaceError` for what cannot be followed.
"""

import os
import posixpath
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress

from sandbox.protected.errors import WorkspaceError
from sandbox.protected.gitconfig import leads_to
from sandbox.protected.names import GIT
from sandbox.protected.repositories import content
from sandbox.protected.tree import kind, opened_path

Path = tuple[str, ...]

_SETTINGS = ((GIT, "config"), (GIT, "config.worktree"))
_HOOKS, _SAMPLE = (GIT, "hooks"), ".sample"
_MOST = 32  # files of settings, and links to hooks


def leads(workspace: str, root: int) -> Iterator[Path]:
    """Every place in the workspace that git is led to, by however many steps."""
    hooks, left, seen = list[Path]([_HOOKS]), list[Path](_SETTINGS), set[Path]()
    while left:
        file = left.pop()
        if file in seen:
            continue
        seen.add(file)
        if len(seen) > _MOST:
            raise WorkspaceError("/".join(file), f"it leads on from {_MOST} files of settings")
        for path, is_read in _next(workspace, root, file):
            (left if is_read else hooks).append(path)
            yield path
    for folder in hooks:
        yield from _linked(workspace, root, folder)


def _next(workspace: str, root: int, file: Path) -> Iterator[tuple[Path, bool]]:
    """Where a file of settings leads, and whether settings are read there, too."""
    try:
        with opened_path(root, file[:-1]) as folder:
            found, mode = content(file[-1], folder), kind(file[-1], folder)
    except OSError:
        return  # there is none
    if found is None or mode is None:
        return
    if not isinstance(found.value, bytes):
        if not stat.S_ISREG(mode):
            return  # such as what stands in for it: git reads no settings there
        raise WorkspaceError("/".join(file), "it is no file of a usual size")
    if found.kind == "link":
        if path := _inside(workspace, file[:-1], os.fsdecode(found.value)):
            yield path, True
        return
    for lead in leads_to(found.value, workspace, "/".join(file[:-1])):
        yield tuple(lead.place.split("/")), lead.is_read


def _linked(workspace: str, root: int, folder: Path) -> Iterator[Path]:
    """What a folder of hooks leads to, where it is a link, and what the links in it lead to."""
    links = list(_links(root, folder[:-1], folder[-1:]))
    try:
        with opened_path(root, folder) as here:
            every = os.listdir(here)  # noqa: PTH208 - by descriptor
    except OSError:
        every = []
    links += _links(root, folder, [name for name in every if not name.endswith(_SAMPLE)])
    if len(links) > _MOST:
        raise WorkspaceError("/".join(folder), f"it has more than {_MOST} links")
    for beside, text in links:
        if path := _inside(workspace, beside, text):
            yield path


def _links(root: int, folder: Path, names: Iterable[str]) -> Iterator[tuple[Path, str]]:
    with suppress(OSError), opened_path(root, folder) as here:
        for name in names:
            found = os.stat(name, dir_fd=here, follow_symlinks=False)
            if stat.S_ISLNK(found.st_mode):
                yield folder, os.readlink(name, dir_fd=here)


def _inside(workspace: str, beside: Path, text: str) -> Path | None:
    """What the text of a link means, if that is in the workspace."""
    place = posixpath.normpath(posixpath.join(workspace, *beside, text))
    if not place.startswith(f"{workspace}/"):
        return None
    return tuple(place[len(workspace) + 1 :].split("/"))
