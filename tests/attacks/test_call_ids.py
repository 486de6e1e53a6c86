"""Call ids: one form, one call, one run."""

import json
import uuid
from pathlib import Path

import grpc
import pytest

from stockade.client import Client, new_call_id
from stockade.errors import BadRequest, Conflict, NotFound
from stockade.v1 import call_pb2, tool_pb2, tool_pb2_grpc
from tests.attacks import certificates
from tests.attacks.certificates import Presented
from tests.attacks.marks import GOOD, marking
from tests.attacks.probing import SECONDS, raw_error, receipts_of, sequence
from tests.running import RunningDaemon, finished

CALL_IDS = {
    "empty": "",
    "no UUID": "1",
    "version 4": str(uuid.uuid4()),
    "upper case": new_call_id().upper(),
    "braces": "{" + new_call_id() + "}",
    "no hyphens": new_call_id().replace("-", ""),
    "a newline after": new_call_id() + "\n",
    "a path": "../../../../../../../../../etc/passwd",
    "other digits": "0197000\u0660-0000-7000-8000-000000000000",
}


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize("which", CALL_IDS)
def test_a_malformed_call_id_is_refused(unhindered: Client, which: str) -> None:
    """A call id has one form; anything else is refused before there is a call."""
    before, call_id = sequence(unhindered), CALL_IDS[which]
    if call_id:  # for an empty one the client makes a new one
        with pytest.raises(BadRequest) as caught:
            list(unhindered.call("run_shell", marking(), call_id=call_id))
        assert caught.value.reason == "BAD_CALL_ID"
        assert caught.value.fix
    for ask in (unhindered.cancel_call, lambda wrong: list(unhindered.watch_call(wrong))):
        with pytest.raises(BadRequest) as caught:
            ask(call_id)
        assert caught.value.reason == "BAD_CALL_ID"
    assert sequence(unhindered) == before


def test_a_call_sent_twice_runs_once(unhindered: Client, workspace: Path) -> None:
    """The same id with the same request is the same call: told again, not run again."""
    call_id, diary = new_call_id(), workspace / "diary"
    arguments = {"command": "echo once >> diary; cat diary", "workspace": "work"}
    reordered = b'{ "workspace":"work" ,"command":"echo once >> diary; cat d\\u0069ary"}'
    try:
        first = list(unhindered.call("run_shell", arguments, call_id=call_id))
        for again in (arguments, reordered):
            events = list(unhindered.call("run_shell", again, call_id=call_id))
            assert finished(events).receipt == finished(first).receipt
            assert finished(events).state == call_pb2.CALL_STATE_SUCCEEDED
        assert diary.read_text() == "once\n"
        kinds = [receipt["kind"] for receipt in receipts_of(unhindered, call_id)]
        assert kinds == ["call.received", "call.permitted", "call.running", "call.succeeded"]
    finally:
        diary.unlink(missing_ok=True)


def test_a_call_sent_twice_runs_once_after_a_restart(
    daemon: RunningDaemon, workspace: Path
) -> None:
    """The id is remembered by the database, not by the process."""
    call_id, before = new_call_id(), sorted(workspace.iterdir())
    with daemon.client() as client:
        first = finished(list(client.call("read_file", GOOD, call_id=call_id)))
    daemon.restart()
    with daemon.client() as client:
        again = finished(list(client.call("read_file", GOOD, call_id=call_id)))
        assert again.receipt == first.receipt
        with pytest.raises(Conflict) as caught:
            list(client.call("list_files", {"workspace": "work"}, call_id=call_id))
    assert caught.value.reason == "CALL_ID_REUSED"
    assert sorted(workspace.iterdir()) == before


@pytest.mark.usefixtures("untouched")
@pytest.mark.parametrize(
    ("tool", "arguments"),
    [("run_shell", marking()), ("read_file", {**GOOD, "max_bytes": 1}), ("no_such_tool", GOOD)],
)
def test_a_call_id_is_not_used_for_another_call(
    shared_daemon: RunningDaemon, unhindered: Client, tool: str, arguments: dict[str, object]
) -> None:
    """The same id with another tool or other arguments is refused, and runs nothing."""
    call_id = new_call_id()
    assert finished(list(unhindered.call("read_file", GOOD, call_id=call_id))).exit_code == 0
    before = sequence(unhindered)
    with pytest.raises(Conflict) as caught:
        list(unhindered.call(tool, arguments, call_id=call_id))
    assert (caught.value.reason, caught.value.grpc_code) == ("CALL_ID_REUSED", "ALREADY_EXISTS")
    assert caught.value.fix
    assert sequence(unhindered) == before
    request = tool_pb2.CallRequest(
        call_id=call_id, tool=tool, arguments=json.dumps(arguments).encode()
    )
    with certificates.channel(shared_daemon, Presented.of(shared_daemon.home)) as channel:
        stub = tool_pb2_grpc.ToolServiceStub(channel)
        with pytest.raises(grpc.RpcError) as raw:
            list(stub.Call(request, timeout=SECONDS))
    error = raw_error(raw.value)
    assert (error.code, error.reason) == (grpc.StatusCode.ALREADY_EXISTS, "CALL_ID_REUSED")


def test_a_call_id_of_another_device_gives_nothing_away(
    shared_daemon: RunningDaemon, unhindered: Client
) -> None:
    """Who guesses an id, with the very same request, sees nothing of the call it belongs to."""
    home = shared_daemon.pair_device("guesser", "callers")
    call_id = new_call_id()
    list(unhindered.call("read_file", GOOD, call_id=call_id))
    with Client.open(home) as guesser:
        with pytest.raises(Conflict) as caught:
            list(guesser.call("read_file", GOOD, call_id=call_id))
        assert caught.value.reason == "CALL_ID_REUSED"
        assert "hello" not in str(caught.value)
        with pytest.raises(NotFound) as unseen:
            list(guesser.watch_call(call_id))
        with pytest.raises(NotFound) as absent:
            list(guesser.watch_call(new_call_id()))
        assert str(unseen.value) == str(absent.value)
        with pytest.raises(NotFound):
            guesser.cancel_call(call_id)
