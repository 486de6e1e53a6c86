"""Putting an uploaded tool into the operator's folder, and taking one away.

Trusted to leave, after a crash at any moment, either the old tool or the new one: the new files
are written and synced beside, the old folder steps aside under a name that says whose it is, and
``recover`` puts it back if the new one never took its place. What is being written has a hidden
name, which no tool can have.

Errors: ``InstallError``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from daemon.durable import sync_folder
from daemon.tools.errors import InstallError, Reason
from daemon.tools.folder import ToolFolder
from daemon.tools.tree import check_part
from daemon.tools.writing import EDITABLE, write_tree
from daemon.trees import remove_tree

_NEW = ".new-"  # may be thrown away
_OLD = ".old-"  # followed by the tool's name: goes back if that name is free


def install(operator_dir: Path, folder: ToolFolder, random_name: Callable[[], str]) -> None:
    """Add a tool, or replace the operator's tool of that name."""
    name = folder.manifest.name
    target, old = operator_dir / name, operator_dir / f"{_OLD}{name}"
    new = operator_dir / f"{_NEW}{random_name()}"
    try:
        operator_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        recover(operator_dir)
        write_tree(new, folder.files, EDITABLE)
        if target.exists():
            target.rename(old)
        new.rename(target)
        sync_folder(operator_dir)
    except OSError as error:
        recover(operator_dir)
        raise _failed(name, error) from None
    remove_tree(old, ignore_errors=True)


def uninstall(operator_dir: Path, name: str, random_name: Callable[[], str]) -> None:
    """Take the operator's tool of that name away; it is gone at once, then its files are."""
    check_part(name, name)
    gone = operator_dir / f"{_NEW}{random_name()}"
    try:
        (operator_dir / name).rename(gone)
        sync_folder(operator_dir)
    except OSError as error:
        raise _failed(name, error) from None
    remove_tree(gone, ignore_errors=True)


def recover(operator_dir: Path) -> None:
    """Finish or undo what a crash interrupted; run before the tools are loaded."""
    try:
        for old in operator_dir.glob(f"{_OLD}*"):
            target = operator_dir / old.name.removeprefix(_OLD)
            if target.exists():
                remove_tree(old, ignore_errors=True)
            else:
                old.rename(target)
        for new in operator_dir.glob(f"{_NEW}*"):
            remove_tree(new, ignore_errors=True)
    except OSError as error:
        raise _failed(operator_dir.name, error) from None


def _failed(what: str, error: OSError) -> InstallError:
    return InstallError(
        Reason.INSTALL_FAILED,
        f"{what}: the folder of tools cannot be changed: {error.strerror}",
        "Make the folder of tools writable for the daemon's user, with space left.",
    )
