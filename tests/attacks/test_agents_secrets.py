"""Secrets of two agents of one device: neither gets what is, or was granted to, the other."""

from collections.abc import Iterator

import pytest

from stockade.client import Client
from stockade.v1 import call_pb2
from tests.attacks.enrolling import EnrolledAgent, enroll_agent
from tests.promises.acting import ALONE, apply, policy, python_tool
from tests.running import RunningDaemon, finished, output

GRANTED = "secret://global/granted_to_one"
CODE = "import os\nprint(len(os.environ['IT']))\n"


def rest(reference: str) -> str:
    return f'[[secrets]]\nreference = "{reference}"\nenv = "IT"\n'


@pytest.fixture(scope="module")
def two(shared_daemon: RunningDaemon, owner: Client) -> Iterator[tuple[EnrolledAgent, ...]]:
    """Two agents of the local device that declared the same."""
    owner.put_secret(GRANTED, b"for-one-alone")
    python_tool(owner, "uses_granted", CODE, rest=rest(GRANTED))
    capabilities = f'toolsets = ["builtin", "local"]\nsecrets = ["{GRANTED}"]'
    names = ("has_it", "has_it_not")
    yield tuple(enroll_agent(shared_daemon, name, capabilities=capabilities) for name in names)
    apply(owner, "")


def ends(agent: EnrolledAgent, tool: str) -> tuple[int, str, bytes]:
    with agent.client() as client:
        events = list(client.call(tool, {}))
    end = finished(events)
    return end.state, end.reason, output(events)


def test_what_was_granted_to_one_is_not_used_by_the_other(
    owner: Client, two: tuple[EnrolledAgent, ...]
) -> None:
    """Though the other declared it, is of the same device, and asks right after the one had it."""
    one, other = two
    grant = (
        'permit (principal is Device, action == Action::"use_secret", resource);'
        f'permit (principal == Agent::"{one.id}", action == Action::"use_secret", resource);'
    )
    with policy(owner, ALONE + grant):
        assert ends(one, "uses_granted")[0] == call_pb2.CALL_STATE_SUCCEEDED
        state, reason, _ = ends(other, "uses_granted")
        assert (state, reason) == (call_pb2.CALL_STATE_DENIED, "NOT_PERMITTED")
        assert ends(one, "uses_granted")[0] == call_pb2.CALL_STATE_SUCCEEDED


def test_an_agents_own_secret_is_its_alone(owner: Client, two: tuple[EnrolledAgent, ...]) -> None:
    """Put for it by its id, so that no manifest could declare it; policy grants it to everybody."""
    one, other = two
    own = f"secret://agent/{one.id}/own"
    owner.put_secret(own, b"twelve-bytes")
    python_tool(owner, "uses_own", CODE, rest=rest(own))
    with policy(owner, ALONE + 'permit (principal, action == Action::"use_secret", resource);'):
        assert ends(one, "uses_own") == (call_pb2.CALL_STATE_SUCCEEDED, "SUCCEEDED", b"12\n")
        state, reason, _ = ends(other, "uses_own")
        assert (state, reason) == (call_pb2.CALL_STATE_DENIED, "UNDECLARED_SECRET")
        end = finished(list(owner.call("uses_own", {})))
        assert (end.state, end.reason) == (call_pb2.CALL_STATE_DENIED, "SECRET_OUT_OF_SCOPE")
    with policy(owner, ALONE):
        assert ends(one, "uses_own")[:2] == (call_pb2.CALL_STATE_DENIED, "NOT_PERMITTED")
