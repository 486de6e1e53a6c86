"""What the service manager is told: that the daemon is ready, lives, reloads, stops (sd_notify(3)).

Trusted to speak only to the socket that the manager named in this process's own environment, which
is taken out of it so that no child can. Without a manager every word is a no-op. A manager that
cannot be reached is logged once and changes nothing: calls matter more than its opinion. Raises
nothing.
"""

import os
import socket
import time
from collections.abc import MutableMapping
from typing import Self

import anyio
import structlog

_log = structlog.get_logger("stockade.service")

_MICRO = 1_000_000
# Of the time after which the manager takes us for stuck: two words may be lost.
_SHARE = 3


class ServiceManager:
    """The service manager of this process, if it has one."""

    def __init__(self, address: str, watchdog_seconds: float | None) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._watchdog = watchdog_seconds
        self._silent = not address

    @classmethod
    def from_environment(cls, environment: MutableMapping[str, str] = os.environ) -> Self:
        """As `NOTIFY_SOCKET` and `WATCHDOG_USEC` say, which are taken away."""
        address = environment.pop("NOTIFY_SOCKET", "")
        period = environment.pop("WATCHDOG_USEC", "")
        watched = environment.pop("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        if not address.startswith(("/", "@")):
            address = ""
        seconds = int(period) / _MICRO if period.isdecimal() and watched else 0.0
        return cls(address, seconds or None)

    def ready(self, status: str) -> None:
        """It serves."""
        self._tell("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """It reads its configuration again; `ready` follows."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, within_seconds: float) -> None:
        """It stops, and needs no longer than this for it."""
        self._tell("STOPPING=1", f"EXTEND_TIMEOUT_USEC={int(within_seconds * _MICRO)}")

    async def keep_alive(self) -> None:
        """Tells the watchdog that the event loop turns, for as long as it does."""
        if self._watchdog is None:
            return
        while True:
            self._tell("WATCHDOG=1")
            await anyio.sleep(self._watchdog / _SHARE)

    def _tell(self, *lines: str) -> None:
        if self._silent:
            return
        words = "\n".join(line.replace("\n", " ") for line in lines)
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as speaker:
                speaker.setblocking(False)
                speaker.sendto(words.encode(), self._address)
        except BlockingIOError:
            pass  # its queue is full; the next word will do
        except OSError as error:
            self._silent = True
            _log.warning("service.manager_unreachable", reason=error.strerror)
