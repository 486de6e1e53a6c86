"""The Python that programs of ours run with inside a sandbox, and what has to be mounted for it."""

import sys
from pathlib import Path

from sandbox.spec import Mount

_SYSTEM_PYTHON = Path("/usr/bin/python3")


def interpreter() -> tuple[str, tuple[Mount, ...]]:
    """A Python the sandbox can reach: one of /usr if there is one, else our own, shown to it."""
    home = Path(sys.base_prefix).resolve()
    if home.is_relative_to("/usr"):
        return str(Path(sys.executable).resolve()), ()
    if _SYSTEM_PYTHON.exists():
        return str(_SYSTEM_PYTHON), ()
    return str(Path(sys.executable).resolve()), (Mount(str(home), str(home)),)
