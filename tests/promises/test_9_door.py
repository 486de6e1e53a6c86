"""Promise 9: the one way out of a sandbox is there in every tier, and shut, with a reason."""

import json
from collections.abc import Iterator

import pytest

from stockade.v1 import call_pb2
from tests.host import missing
from tests.promises.acting import ALONE, apply, python_tool, run, working_tiers
from tests.running import WITH_ENGINES, RunningDaemon, finished, output, running

EVERYTHING = ALONE + "permit (principal, action, resource);"
RISKY = "[capabilities]\nnetwork = true\nfilesystem_write = true\nexternal_apis = true\n"
# How sensitive a tool is, and what it may besides, for the tier it is to run in.
TIERS = {"process": ("0.1", ""), "container": ("1.0", ""), "gvisor": ("1.0", RISKY)}
KNOCK = """
import socket
with socket.socket(socket.AF_UNIX) as door:
    door.connect("/run/stockade/egress.sock")
    door.sendall(b"CONNECT example.org:443 HTTP/1.1\\r\\n\\r\\n")
    while part := door.recv(4096):
        print(part.decode(), end="")
"""


@pytest.fixture(scope="module")
def daemon() -> Iterator[RunningDaemon]:
    """A daemon with all the tiers of this machine."""
    with running(WITH_ENGINES) as made:
        with made.client() as client:
            apply(client, EVERYTHING)
        yield made


@pytest.mark.parametrize("tier", TIERS)
def test_the_door_is_there_and_shut(daemon: RunningDaemon, tier: str) -> None:
    """Whoever connects, in any tier, is told by the daemon that nothing was granted."""
    sensitivity, rest = TIERS[tier]
    with daemon.client() as client:
        if not working_tiers(client)[tier]:
            missing(tier)
        python_tool(client, f"knock_{tier}", KNOCK, sensitivity=sensitivity, rest=rest)
        events = run(client, f"knock_{tier}")
    assert [one.started.tier for one in events if one.HasField("started")] == [tier]
    assert finished(events).state == call_pb2.CALL_STATE_SUCCEEDED
    head, _, body = output(events).decode().partition("\r\n\r\n")
    assert head.startswith("HTTP/1.1 403 ")
    assert json.loads(body)["reason"] == "EGRESS_NOT_GRANTED"
