"""What the host tells of its processes, and what of it a test cannot do without."""

import os
from pathlib import Path
from typing import NoReturn

import pytest


def missing(what: str) -> NoReturn:
    """Skips the test; on the machines that CI has, there is all of it, and it fails."""
    (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"{what}: not here")


def of_each_process(what: str) -> dict[int, bytes]:
    """/proc/PID/`what` of each process that may be read and did not go meanwhile.

    No glob, which looks at each name again before it gives it and raises if the process has gone.
    """
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 - names, nothing to open
        try:
            found[int(name)] = Path("/proc", name, what).read_bytes()
        except OSError:
            continue
    return found
