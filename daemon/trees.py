"""Removing a folder with all that is in it. Errors of the file system leave as `OSError`."""

import os
import shutil
from pathlib import Path


def remove_tree(folder: Path, *, ignore_errors: bool = False) -> None:
    """Also what is in folders that nobody may write to, as those of the copies of tools.

    With `ignore_errors` what cannot be removed stays.
    """
    for inner, _, _ in os.walk(folder):
        Path(inner).chmod(0o700)
    shutil.rmtree(folder, ignore_errors=ignore_errors)
