"""Whether it is an engine that listens where one is looked for, or whoever took its place.

What is sent there is secrets, and what comes back is believed: so the socket has to be root's or
ours, and lie where nobody else could put another. Looks at names only, each time one is asked, for
an engine that goes leaves its name to whoever is quick. Raises nothing.
"""

import os
import stat
from pathlib import Path


def distrusted(path: str) -> str:
    """Why what listens there is not asked anything; empty where it may be, or where nothing is."""
    try:
        real = Path(path).resolve()
        found = real.lstat()
        folders = {*Path(path).parents, *real.parents}
        seen = {folder: folder.stat() for folder in folders}
    except OSError:
        return ""  # whoever connects is told
    ours = (0, os.geteuid())
    if found.st_uid not in ours:
        return f"{path} belongs to user id {found.st_uid}"
    for folder, status in seen.items():
        if status.st_uid not in ours:
            return f"{folder}, where {path} lies, belongs to user id {status.st_uid}"
        # A folder's group is often its owner's own, and is let be. In /tmp nobody removes what is
        # another's; but takes a name that is free.
        kept = status.st_mode & stat.S_ISVTX and folder != real.parent
        if status.st_mode & stat.S_IWOTH and not kept:
            return f"{folder}, where {path} lies, is writable by other users"
    return ""
