"""Removing a folder with all that is in it. Errors of the file system leave as `OSError`."""

import os
import shutil
from contextlib import suppress
from pathlib import Path


def remove_tree(folder: Path, *, ignore_errors: bool = False) -> None:
    """Also what is in folders that nobody may write to, as those of the copies of tools.

    Follows no symbolic link; with `ignore_errors` it removes what it can.
    """
    if not folder.is_symlink():
        for inner, _, _ in os.walk(folder):
            with suppress(OSError):  # not ours: that it cannot be removed is said below
                Path(inner).chmod(0o700)
    shutil.rmtree(folder, ignore_errors=ignore_errors)
