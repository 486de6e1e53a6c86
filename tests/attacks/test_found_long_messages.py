"""A fault whose text is as long as its sender likes must still arrive with its reason code."""

import pytest

from stockade.errors import BadRequest
from stockade.v1 import policy_pb2
from tests.running import RunningDaemon

LONG = 50_000


@pytest.mark.parametrize("letter", ["x", "\u00e4", "\U0001f512"])
def test_a_fault_with_a_long_text_keeps_its_reason(
    shared_daemon: RunningDaemon, letter: str
) -> None:
    """Trailers that are too long are dropped: the client would be told of no reason at all."""
    text = f'permit (principal, action, resource) when {{ context["{letter * LONG}"] == 1 }};'
    named = policy_pb2.PolicyFile(name=f"{letter * LONG}.cedar", text="")
    with shared_daemon.client() as client:
        for file in (policy_pb2.PolicyFile(name="a.cedar", text=text), named):
            with pytest.raises(BadRequest) as caught:
                client.apply_policy([file])
            assert caught.value.reason == "POLICY_INVALID"
            assert caught.value.fix
