"""Repositories in a workspace: what git would act on in them, before and after a run.

Mounts cannot hold, at any depth, what does not exist yet; so this is compared. What a run made or
changed and git would execute, or be led by, is put aside under another name, and what was there
before comes back. Trusted to act only within directories it holds open, to delete nothing and to
overwrite nothing. Raises OSError for the workspace itself alone.
"""

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

from sandbox.protected.gitconfig import MAX_BYTES, is_harmless
from sandbox.protected.names import GIT
from sandbox.protected.tree import Walker, opened

Path = tuple[str, ...]

# What leads git to other directories, or says what to run; and a work tree's pointer.
_NAMES = ("config", "config.worktree", "commondir", GIT)
_HOOKS, _SAMPLE = "hooks", ".sample"
_LONGEST = 200
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
# Mounted while a run is on, so that whatever changed there was not the run's doing.
_MOUNTED = ((GIT,), (GIT, "worktrees"))


@dataclass(frozen=True, slots=True)
class Content:
    """What has a name: a small file by its bytes, a link by its text, all else by what it is."""

    kind: Literal["file", "link", "other"]
    value: bytes | tuple[int, ...]
    mode: int = field(compare=False, default=0o644)
    owner: tuple[int, int] = field(compare=False, default=(-1, -1))


@dataclass(frozen=True, slots=True)
class State:
    """What one repository has of what git would act on."""

    files: Mapping[str, Content] = field(default_factory=dict)
    hooks: Mapping[str, Content] = field(default_factory=dict)


_NOTHING = State()


def look(walker: Walker, root: int) -> dict[Path, State]:
    """The state of every repository."""
    return {path: _state(folder) for path, folder in _all(walker, root)}


def put_right(walker: Walker, root: int, before: Mapping[Path, State]) -> Iterator[str]:
    """Put aside what would act now and would not have before; gives what was put aside."""
    for path, folder in _all(walker, root):
        was, now = before.get(path, _NOTHING), _state(folder)
        for name, found in now.files.items():
            if not _may_stay(name, was.files.get(name), found):
                yield replace(name, folder, was.files.get(name), "/".join((*path, name)))
        for name in now.hooks:
            if was.hooks.get(name) != now.hooks[name]:
                yield _put_aside_hook(name, folder, "/".join((*path, _HOOKS)))


def _all(walker: Walker, root: int) -> Iterator[tuple[Path, int]]:
    for path, folder in walker.repositories(root):
        if path and path not in _MOUNTED and path[:2] not in _MOUNTED:
            yield path, folder


def _may_stay(name: str, was: Content | None, now: Content) -> bool:
    if was == now:
        return True
    # Of a configuration that git work changes: from harmless to harmless, and no other way.
    return name == "config" and _harmless(now) and (was is None or _harmless(was))


def _harmless(content: Content) -> bool:
    return (
        isinstance(content.value, bytes) and content.kind == "file" and is_harmless(content.value)
    )


def _state(folder: int) -> State:
    files = {name: found for name in _NAMES if (found := content(name, folder)) is not None}
    return State(files, _hooks(folder))


def _hooks(folder: int) -> dict[str, Content]:
    """The hooks that would run; where `hooks` is no directory of its own, that itself."""
    whole = content(_HOOKS, folder)
    if whole is None:
        try:
            with opened(_HOOKS, folder) as hooks, os.scandir(hooks) as entries:
                names = [entry.name for entry in entries if not entry.name.endswith(_SAMPLE)]
                return {name: _other(name, hooks) for name in names}
        except OSError:
            return {}
    return {"": whole}


def content(name: str, folder: int) -> Content | None:
    """What has this name, if it is there and no directory."""
    try:
        status = os.stat(name, dir_fd=folder, follow_symlinks=False)
        if stat.S_ISDIR(status.st_mode):
            return None
        if stat.S_ISLNK(status.st_mode):
            return Content("link", os.fsencode(os.readlink(name, dir_fd=folder)))
        if not stat.S_ISREG(status.st_mode) or status.st_size > MAX_BYTES:
            return _other(name, folder)
        descriptor = os.open(name, _READ, dir_fd=folder)
        with os.fdopen(descriptor, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError:
        return _unread(name, folder)
    mode, owner = stat.S_IMODE(status.st_mode), (status.st_uid, status.st_gid)
    return Content("file", data, mode, owner)


def _unread(name: str, folder: int) -> Content | None:
    """What is there and cannot be read now: closed, or with a lease of a run that is on yet."""
    try:
        return _other(name, folder)
    except OSError:
        return None


def _other(name: str, folder: int) -> Content:
    status = os.stat(name, dir_fd=folder, follow_symlinks=False)
    # Of these, nobody can set the time of the last change.
    return Content("other", (status.st_dev, status.st_ino, status.st_ctime_ns))


def _put_aside_hook(name: str, folder: int, shown: str) -> str:
    if not name:
        return replace(_HOOKS, folder, None, shown)
    try:
        with opened(_HOOKS, folder) as hooks:
            return replace(name, hooks, None, f"{shown}/{name}")
    except OSError as error:
        return f"{shown}/{name} (not put aside: {error.strerror})"


def replace(name: str, folder: int, was: Content | None, shown: str) -> str:
    """Give what is there a name that nothing acts on, and bring back what was, if that is known.

    Gives what to say of it.
    """
    try:
        try:
            _put_aside(name, folder)
        except PermissionError:
            # A directory of our own user's that was closed to writing.
            os.fchmod(folder, os.fstat(folder).st_mode | 0o300)
            _put_aside(name, folder)
        if was is not None and isinstance(was.value, bytes):
            _restore(name, folder, was, was.value)
    except OSError as error:
        return f"{shown} (not put aside: {error.strerror})"
    return shown


def _put_aside(name: str, folder: int) -> None:
    shown = name if len(os.fsencode(name)) < _LONGEST else "long-name"
    aside = f"{shown}.put-aside-{secrets.token_hex(4)}"
    with contextlib.suppress(FileNotFoundError):
        os.rename(name, aside, src_dir_fd=folder, dst_dir_fd=folder)


def _restore(name: str, folder: int, was: Content, value: bytes) -> None:
    with contextlib.suppress(FileExistsError):
        if was.kind == "link":
            os.symlink(os.fsdecode(value), name, dir_fd=folder)
            return
        descriptor = os.open(name, _CREATE, 0o600, dir_fd=folder)
        with os.fdopen(descriptor, "wb") as file:
            file.write(value)
            os.fchmod(descriptor, was.mode)
            if os.geteuid() == 0:
                os.fchown(descriptor, *was.owner)
