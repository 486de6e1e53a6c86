"""Callers that leave while the start of their calls is being recorded and a sandbox is held."""

import os
import random
import threading
import time

from sandbox.pool import PoolSettings
from stockade.client import Client, new_call_id
from stockade.v1 import call_pb2
from tests.promises.acting import ALONE, apply, kinds, python_tool, run, until
from tests.running import RunningDaemon, output

ENDS = {"call.succeeded", "call.cancelled"}
CALLS = 60
# Nearly all of a call's start lies in it, on a machine that has nothing else to do.
LONGEST_SECONDS = 0.012


def test_callers_that_leave_at_any_moment_of_a_start(daemon: RunningDaemon) -> None:
    """Each has one end; nothing is told of a run that is not on record; no sandbox is left."""
    moments = random.Random(7)  # noqa: S311 - when to leave is no secret
    with daemon.client() as client:
        apply(client, ALONE)
        python_tool(client, "quick", "print('ran')\n")
        for _ in range(5):  # so that sandboxes of its shape wait
            assert output(run(client, "quick")) == b"ran\n"
            time.sleep(0.05)
        told = dict(_leave(client, moments.uniform(0, LONGEST_SECONDS)) for _ in range(CALLS))
        assert until(lambda: client.status().running_calls == 0)
        recorded: dict[str, list[str]] = {}

        def ended() -> bool:  # what runs is counted, and not what is on its way to or from it
            recorded.update({call_id: kinds(client, call_id) for call_id in told})
            return all(not found or ENDS & set(found) for found in recorded.values())

        assert until(ended)
        began = {call_id: found for call_id, found in recorded.items() if found}
        assert began
        for found in began.values():
            assert found[:2] == ["call.received", "call.permitted"], found
            assert len(ENDS & set(found)) == 1, found
        for call_id, events in told.items():
            if any(event.HasField("started") or event.HasField("output") for event in events):
                assert "call.running" in recorded[call_id]
        # What was held for who left is no other's, and the next has one of its own.
        assert output(run(client, "quick")) == b"ran\n"
        chain, kept = client.status().ledger_chain, PoolSettings().per_profile
        # One that was held and not ended would be there besides those that wait.
        assert until(lambda: len(set(_groups(chain))) <= kept)
    daemon.stop()
    assert not _groups(chain)


def _leave(client: Client, seconds: float) -> tuple[str, list[call_pb2.CallEvent]]:
    """A call whose caller leaves after so long, and what it heard until then."""
    call_id, heard = new_call_id(), list[call_pb2.CallEvent]()
    with client.call("quick", {}, call_id=call_id) as events:
        leave = threading.Timer(seconds, events.cancel)
        leave.start()
        heard.extend(events)
        leave.join()
    return call_id, heard


def _groups(chain: str) -> list[str]:
    """The control groups of this daemon's sandboxes."""
    names = (name for _, folders, _ in os.walk("/sys/fs/cgroup") for name in folders)
    return [name for name in names if name.startswith(f"stockade-{chain}-")]
