"""A permit is not worth more for having waited."""

import threading
from pathlib import Path

from stockade.client import new_call_id
from stockade.v1 import call_pb2, policy_pb2
from tests.conftest import config_with
from tests.promises.acting import state, until
from tests.running import finished, running

UNATTENDED = (
    '@id("now") permit (principal, action == Action::"call_unattended", '
    'resource == Tool::"run_shell");\n'
)


def test_a_permit_out_of_force_does_not_run_when_its_turn_comes(workspace: Path) -> None:
    """A permitted call that waits for its turn does not run under a policy that has changed."""
    alone = "[calls]\nmax_running = 1\n"
    with running(config_with(workspace) + alone) as daemon, daemon.client() as client:
        files = list(client.get_policy().files)
        client.apply_policy([*files, policy_pb2.PolicyFile(name="now.cedar", text=UNATTENDED)])
        gate, waits = workspace / f"gate-{new_call_id()}", new_call_id()
        first = client.call(
            "run_shell",
            {"command": f"until [ -e {gate.name} ]; do sleep 0.05; done", "workspace": "work"},
        )
        for event in first:
            if event.HasField("started"):
                break
        ends: list[call_pb2.CallEvent.Finished] = []

        def wait_for_its_turn() -> None:
            events = client.call("run_shell", {"command": "echo ran"}, call_id=waits)
            ends.append(finished(list(events)))

        second = threading.Thread(target=wait_for_its_turn)
        second.start()
        assert until(lambda: state(client, waits)[0] == "PERMITTED")
        client.apply_policy(files)
        gate.touch()
        assert finished(list(first)).state == call_pb2.CALL_STATE_SUCCEEDED
        second.join(60)
    gate.unlink()
    assert [(end.state, end.reason) for end in ends] == [
        (call_pb2.CALL_STATE_FAILED, "POLICY_CHANGED")
    ]
