"""What a call wrote is kept for who watches it: at the cost of neither its tool nor the daemon."""

from collections.abc import Iterator

import pytest

from stockade.client import Client, new_call_id
from stockade.errors import Exhausted
from stockade.v1 import call_pb2
from tests.promises.acting import ALONE, add_tool, apply, ask, policy, python_tool, state, until
from tests.running import CONFIG, RunningDaemon, output, running

# Far more than lies in HTTP/2's windows and in what is kept for who lags.
WRITTEN = 16 * 1024 * 1024
WRITES = ["/usr/bin/head", "-c", str(WRITTEN), "/dev/zero"]
ALLOWED = "[limits]\nwall_seconds = 60\noutput_kib = 32768"
ATTENDED = 'forbid (principal, action == Action::"call_unattended", resource);'
KEPT = "[calls]\nretain_output_kib = 16\n"


@pytest.fixture(scope="module")
def daemon() -> Iterator[RunningDaemon]:
    with running(CONFIG + KEPT) as made:
        yield made


def test_a_watcher_that_reads_nothing_does_not_hold_the_tool(daemon: RunningDaemon) -> None:
    """The tool goes on, its caller gets all it wrote, and the watcher is told to watch again."""
    with (
        daemon.client() as owner,
        Client.open(daemon.pair_device("watcher", "operators")) as watcher,
        Client.open(daemon.pair_device("approver", "approvers")) as approver,
    ):
        apply(owner, ATTENDED)
        add_tool(owner, "writes", WRITES, rest=ALLOWED)
        waiting = ask(owner, "writes")
        held = watcher.watch_call(waiting.call_id)
        assert next(held).HasField("received")
        approver.answer_approval(waiting.approval, approve=True)
        assert waiting.end().state == call_pb2.CALL_STATE_SUCCEEDED
        assert len(output(waiting.rest)) == WRITTEN
        with pytest.raises(Exhausted) as let_go:
            list(held)
        assert let_go.value.reason == "WATCHER_TOO_SLOW"
        again = list(watcher.watch_call(waiting.call_id))
        assert again[-1].finished.state == call_pb2.CALL_STATE_SUCCEEDED


DRIPS = """
import os, time
for _ in range(400):
    os.write(1, b"x")
    time.sleep(0.002)
"""


def test_a_tool_that_writes_byte_by_byte_does_not_fill_the_daemon(daemon: RunningDaemon) -> None:
    """Each chunk takes memory, however short: of many few are kept, and the end is among them."""
    with daemon.client() as owner, policy(owner, ALONE):
        python_tool(owner, "drips", DRIPS)
        call_id = new_call_id()
        called = owner.call("drips", {}, call_id=call_id, detach=True)
        next(called)
        called.cancel()
        assert until(lambda: state(owner, call_id)[0] == "SUCCEEDED")
        chunks = [e.output for e in owner.watch_call(call_id) if e.HasField("output")]
        assert 1 <= len(chunks) <= 64
        assert chunks[-1].offset + len(chunks[-1].data) == 400
