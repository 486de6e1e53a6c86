"""Making durable what was written: the names in a folder, as an fsync of a file makes its bytes.

A rename or a new file is on disk only when its folder is. Raises `OSError`.
"""

import os
from pathlib import Path


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
