"""The whole path, once, through the client library."""

from stockade.v1 import call_pb2
from tests.running import RunningDaemon, finished, output


def test_a_permitted_call_runs_and_its_receipt_is_in_the_ledger(
    shared_daemon: RunningDaemon,
) -> None:
    """A call that policy permits unattended runs at once and ends with a signed receipt."""
    with shared_daemon.client() as client:
        events = list(client.call("read_file", {"workspace": "work", "path": "hello.txt"}))
        end = finished(events)
        assert end.state == call_pb2.CALL_STATE_SUCCEEDED
        assert output(events) == b"hello\n"
        assert end.receipt.kind == "call.succeeded"
