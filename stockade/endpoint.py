"""Where the daemon of a home listens, as the daemon itself wrote it down, and whether it lives.

A file that a crashed daemon left behind is no daemon: `is_served` asks the lock. Reads only; a file
that is not what a daemon writes is taken for none.
"""

import fcntl
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from stockade.home import Home

if TYPE_CHECKING:
    from stockade.credentials import Credentials

_MAX_FILE = 4096
MAX_SOCKET_PATH = 107  # unix(7)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A daemon's process and its address, "host:port"."""

    pid: int
    address: str


def load_endpoint(home: Home) -> Endpoint | None:
    """What the home's endpoint file says, if it says it in the form a daemon does."""
    return read_endpoint(home.endpoint)


def read_endpoint(path: Path) -> Endpoint | None:
    """The same of any daemon's endpoint file."""
    try:
        with path.open("rb") as file:
            fields = json.loads(file.read(_MAX_FILE))
        pid, address = fields["pid"], fields["address"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not isinstance(pid, int) or not isinstance(address, str) or pid < 1 or not address:
        return None
    return Endpoint(pid, address)


def own_socket(home: Home, credentials: "Credentials") -> Path | None:
    """The daemon's socket in this home, for its local device; None where there is none to use."""
    if credentials.address is not None or len(os.fsencode(home.socket)) > MAX_SOCKET_PATH:
        return None
    try:
        there = stat.S_ISSOCK(home.socket.stat().st_mode)
    except OSError:
        return None
    return home.socket if there else None


def is_served(home: Home) -> bool:
    """A daemon holds the home's lock now."""
    try:
        descriptor = os.open(home.lock, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        # Shared, so that two who ask do not see each other.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
