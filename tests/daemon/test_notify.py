"""What the service manager is told, heard at a real socket."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import anyio
import pytest

from daemon.notify import ServiceManager

pytestmark = pytest.mark.anyio


@contextmanager
def listening(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.bind("\0" + address[1:] if address.startswith("@") else address)
        made.settimeout(60)
        yield made


def test_it_says_what_the_protocol_says(tmp_path: Path) -> None:
    """Each state is one datagram of the manager's own words, and a status is one line."""
    address = str(tmp_path / "notify")
    with listening(address) as heard:
        manager = ServiceManager.from_environment({"NOTIFY_SOCKET": address})
        manager.ready("serves\nFDSTORE=1")
        manager.reloading()
        manager.stopping(1.5)
        assert heard.recv(1024) == b"READY=1\nSTATUS=serves FDSTORE=1"
        assert heard.recv(1024).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        assert heard.recv(1024) == b"STOPPING=1\nEXTEND_TIMEOUT_USEC=1500000"


def test_an_abstract_address_is_understood() -> None:
    """A manager of containers listens at a name that begins with @."""
    address = f"@stockade-test-{os.getpid()}"
    with listening(address) as heard:
        ServiceManager.from_environment({"NOTIFY_SOCKET": address}).ready("serves")
        assert heard.recv(1024).startswith(b"READY=1\n")


def test_the_variables_are_taken_away() -> None:
    """No child of the daemon can speak to the manager in its name."""
    environment = {"NOTIFY_SOCKET": "/x", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "A": "b"}
    ServiceManager.from_environment(environment)
    assert environment == {"A": "b"}


async def test_it_lives_for_as_long_as_its_loop_turns(tmp_path: Path) -> None:
    """The watchdog hears of it several times within its period."""
    address = str(tmp_path / "notify")
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "30000"}
    with listening(address) as heard:
        manager = ServiceManager.from_environment(environment)
        async with anyio.create_task_group() as group:
            group.start_soon(manager.keep_alive)
            words = [await anyio.to_thread.run_sync(heard.recv, 64) for _ in range(4)]
            group.cancel_scope.cancel()
    assert words == [b"WATCHDOG=1"] * 4


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"WATCHDOG_USEC": "1000"},
        {"NOTIFY_SOCKET": "relative", "WATCHDOG_USEC": "x"},
        {"NOTIFY_SOCKET": "/nonexistent/notify", "WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"},
    ],
)
async def test_without_a_manager_it_goes_on(environment: dict[str, str]) -> None:
    """None, one that is gone, or nonsense: nothing is raised, and there is no watchdog."""
    manager = ServiceManager.from_environment(environment)
    manager.ready("serves")
    manager.stopping(1)
    with anyio.move_on_after(0.05):
        await manager.keep_alive()
