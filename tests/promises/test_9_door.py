"""Promise 9: the one way out of a sandbox is there in every tier, and shut, with a reason."""

import json
import os
from collections.abc import Iterator

import pytest

from stockade.v1 import call_pb2
from tests.promises.acting import ALONE, apply, python_tool, run
from tests.running import WITH_ENGINES, RunningDaemon, finished, output, running

FLOORS = {
    "process": "",
    "container": "[risk]\ncontainer_floor = 0\n",
    "gvisor": "[risk]\ncontainer_floor = 0\ngvisor_floor = 0\n",
}
KNOCK = """
import socket
with socket.socket(socket.AF_UNIX) as door:
    door.connect("/run/stockade/egress.sock")
    door.sendall(b"CONNECT example.org:443 HTTP/1.1\\r\\n\\r\\n")
    while part := door.recv(4096):
        print(part.decode(), end="")
"""


@pytest.fixture(params=FLOORS)
def daemon(request: pytest.FixtureRequest) -> Iterator[RunningDaemon]:
    """A daemon that runs everything in one tier."""
    with running(WITH_ENGINES + FLOORS[request.param]) as made:
        with made.client() as client:
            apply(client, ALONE)
            works = {tier.name: tier.works for tier in client.status().tiers}
        if not works[request.param]:
            (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(request.param)
        yield made


def test_the_door_is_there_and_shut(daemon: RunningDaemon) -> None:
    """Whoever connects, in any tier, is told by the daemon that nothing was granted."""
    with daemon.client() as client:
        python_tool(client, "knock", KNOCK)
        events = run(client, "knock")
    assert finished(events).state == call_pb2.CALL_STATE_SUCCEEDED
    head, _, body = output(events).decode().partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 403 ")
    assert json.loads(body)["reason"] == "EGRESS_NOT_GRANTED"
