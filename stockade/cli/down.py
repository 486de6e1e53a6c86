"""`stockade down`: ends the daemon of this home, and nothing else.

A process is only asked to stop if it is the one that holds the home's lock: the number in a file
that a crashed daemon left may have come to mean another. Raises `StockadeError`.
"""

import os
import select
import signal
import time
from pathlib import Path

from stockade.cli import machine
from stockade.cli.options import Json, examples
from stockade.cli.terminal import say, spinner
from stockade.endpoint import Endpoint, is_served, load_endpoint
from stockade.errors import DaemonUnreachable, StockadeError
from stockade.home import Home

STOP_SECONDS = 30.0

EXAMPLES = examples("stockade down")


def down(json_: Json = False) -> int:
    """Stop the daemon of this home and wait until it is gone."""
    home = Home.locate()
    stopped = is_served(home)
    if stopped:
        _stop(home)
    if json_:
        machine.emit({"stopped": stopped})
    else:
        say("stopped" if stopped else f"no daemon serves {home.data}")
    return 0


def _stop(home: Home) -> None:
    deadline = time.monotonic() + STOP_SECONDS
    while (endpoint := load_endpoint(home)) is None:
        # It is just starting, or already stopping.
        if not is_served(home):
            return
        if time.monotonic() > deadline:
            raise DaemonUnreachable(
                "a daemon holds the lock of this home but does not say where it serves",
                reason="DAEMON_STUCK",
                fix=f"see {home.log}",
            )
        time.sleep(0.05)
    _end(home, endpoint)


def _end(home: Home, endpoint: Endpoint) -> None:
    """Asks the process to stop and waits until it is gone."""
    try:
        # From here on the number cannot come to mean another process.
        handle = os.pidfd_open(endpoint.pid)
    except ProcessLookupError:
        handle = -1
    if handle < 0 or not holds(endpoint.pid, home.lock):
        raise StockadeError(
            f"process {endpoint.pid} of {home.endpoint} is not the daemon that holds the lock",
            reason="DAEMON_UNKNOWN",
            fix=f"find the process that has {home.lock} open and end it",
        )
    try:
        signal.pidfd_send_signal(handle, signal.SIGTERM)
        with spinner("stopping the daemon"):
            gone = bool(select.select([handle], [], [], STOP_SECONDS)[0])
    finally:
        os.close(handle)
    if not gone:
        raise StockadeError(
            f"the daemon (process {endpoint.pid}) has not stopped in {STOP_SECONDS:.0f} s",
            reason="DAEMON_STUCK",
            fix=f"see {home.log}; as a last resort: kill -KILL {endpoint.pid}",
        )


def holds(pid: int, path: Path) -> bool:
    """Whether that process holds the lock of this very file: a recycled number does not.

    By the kernel's list of locks. What a daemon has open the kernel tells root alone, since it lets
    nobody else look into its memory.
    """
    try:
        wanted = str(path.stat().st_ino)
        locks = Path("/proc/locks").read_text("ascii").splitlines()
    except OSError:
        return False
    for line in locks:
        # "3: FLOCK  ADVISORY  WRITE 24501 fe:00:1548403 0 EOF", see proc_locks(5). The device is
        # not compared: some file systems show another one there.
        match line.split()[1:6]:
            case ["FLOCK", _, "WRITE", holder, place]:
                if holder == str(pid) and place.rpartition(":")[2] == wanted:
                    return True
    return False
