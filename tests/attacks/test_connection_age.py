"""A connection takes new requests for a time; a stream on it goes on for as long as it takes."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from stockade.client import Client
from stockade.v1 import call_pb2
from tests.conftest import config_with
from tests.promises.acting import ALONE, apply, python_tool, until
from tests.running import RunningDaemon, finished, local_device, make_directory, output, running

AGE_SECONDS = 1
BOUND_SECONDS = 60
HALF_AN_HOUR = 30 * 60
TOOL = "counts"

# Counts aloud until it is told to stop, in the workspace that it is given.
COUNTS = """
import pathlib, time
number = 0
while not pathlib.Path("/workspace/stop").exists():
    print(number, flush=True)
    number += 1
    time.sleep(PAUSE)
"""
REST = """
[input.properties.workspace]
type = "string"
[capabilities]
filesystem_write = true
[workspace]
access = "write"
[limits]
wall_seconds = 7200
cpu_seconds = 600
"""


def aged(workspace: Path, age: int) -> str:
    return config_with(workspace).replace("[server]\n", f"[server]\nconnection_seconds = {age}\n")


@pytest.fixture
def place() -> Iterator[Path]:
    """A workspace of this test's own: others look at what lies in theirs."""
    path = make_directory("stockade-workspace-")
    path.chmod(0o777)
    yield path
    shutil.rmtree(path)


@pytest.fixture
def daemon(place: Path) -> Iterator[RunningDaemon]:
    with running(aged(place, AGE_SECONDS)) as made:
        yield made


def add_counter(client: Client, pause: float) -> None:
    """A tool that counts with that much time between."""
    apply(client, ALONE)
    code = COUNTS.replace("PAUSE", str(pause))
    python_tool(client, TOOL, code, rest=REST)


def ports(address: str) -> set[int]:
    """This process's ends of its connections to the daemon."""
    there = int(address.rpartition(":")[2])
    return {
        one.laddr.port
        for one in psutil.Process().net_connections("tcp")
        if one.status == psutil.CONN_ESTABLISHED and one.raddr.port == there
    }


def test_a_stream_outlives_its_connections_age_and_new_requests_move_on(
    daemon: RunningDaemon, place: Path
) -> None:
    """Requests change connections again and again; the first one's stream loses no line."""
    with daemon.client() as client:
        add_counter(client, 0.1)
    assert until(lambda: not ports(daemon.address))
    with Client.open(daemon.home, by_socket=False) as client:
        stream = iter(client.call(TOOL, {"workspace": "work"}))
        events = [next(stream)]
        [first] = seen = ports(daemon.address)

        def moved_on() -> bool:
            nonlocal seen
            assert local_device(client).name == "local"
            seen = seen | ports(daemon.address)
            events.append(next(stream))
            return len(seen) > 3

        assert until(moved_on, BOUND_SECONDS)
        assert first in ports(daemon.address)
        (place / "stop").touch()
        events += stream
    assert finished(events).reason == "SUCCEEDED"
    assert_counted(events)


def assert_counted(events: list[call_pb2.CallEvent]) -> int:
    """No number is missing, none comes twice; how many there were."""
    lines = output(events).split()
    assert lines == [b"%d" % number for number in range(len(lines))]
    return len(lines)


@pytest.mark.slow
def test_a_stream_of_half_an_hour_is_not_cut(place: Path) -> None:
    """Nor by keepalive, a certificate that ends meanwhile, or the age of its connection."""
    hours = "[identity]\nlocal_certificate_hours = 0.2\nserver_certificate_hours = 0.2\n"
    with (
        running(aged(place, 300) + hours) as daemon,
        Client.open(daemon.home, by_socket=False) as client,
    ):
        add_counter(client, 5)
        began, events = time.monotonic(), []
        for event in client.call(TOOL, {"workspace": "work"}):
            events.append(event)
            if time.monotonic() - began > HALF_AN_HOUR:
                (place / "stop").touch()
            assert local_device(client).name == "local"
        took = time.monotonic() - began
    assert took > HALF_AN_HOUR
    assert finished(events).reason == "SUCCEEDED"
    lines = assert_counted(events)
    assert lines > HALF_AN_HOUR / 5 * 0.8
