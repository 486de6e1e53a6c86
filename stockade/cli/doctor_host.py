"""What `stockade doctor` finds of the machine by itself: room for the ledger, the service.

Reads only. Raises nothing.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from stockade.cli import service_files
from stockade.cli.finding import Finding
from stockade.cli.systemd import Systemd
from stockade.errors import StockadeError
from stockade.home import Home

_MIB = 1024 * 1024
# A day of heavy use fills some hundred MiB; without any room nothing runs.
LITTLE_MIB, NONE_MIB = 1024, 64


def room(data: Path) -> Iterator[Finding]:
    """For receipts: bytes, and files."""
    try:
        found = os.statvfs(data)
    except OSError:
        return  # that it is not there is said elsewhere
    free = found.f_bavail * found.f_frsize // _MIB
    files = found.f_favail if found.f_files else LITTLE_MIB
    little = free < LITTLE_MIB or files < LITTLE_MIB
    yield Finding(
        "disk",
        free >= NONE_MIB and files >= NONE_MIB,
        f"{free} MiB free for {data}",
        "make room: once the ledger cannot be written, nothing runs",
        warning=little,
    )


def service(home: Home) -> Iterator[Finding]:
    """Of the system, or of this user, where one is installed for this home."""
    if os.environ.get("STOCKADE_HOME"):
        return
    for user in (False, True):
        unit = service_files.unit_folder(user=user) / service_files.SERVICE
        if not unit.exists() or user != (home.data != Path("/var/lib/stockade")):
            continue
        flag = " --user" if user else ""
        try:
            state = Systemd(user).properties(service_files.SERVICE, ("ActiveState", "Result"))
        except StockadeError as error:
            yield Finding("service", False, error.message, error.fix)
            continue
        runs = state["ActiveState"] in ("active", "reloading")
        yield Finding(
            "service",
            runs,
            f"{service_files.SERVICE} is {state['ActiveState']} ({state['Result']})",
            f"systemctl{flag} start stockaded; journalctl{flag} -u stockaded says why it ended",
        )
