"""Promise 5: no record, no run. Every step of a call has its receipt, before it is acted on."""

import hashlib
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from stockade.client import Client, new_call_id
from stockade.errors import Unavailable
from stockade.v1 import call_pb2
from tests.promises.acting import ALONE, add_tool, apply, python_tool, receipts, run, state
from tests.running import RunningDaemon, finished, output

START = ["call.received", "call.permitted", "call.running"]
State = call_pb2.CallState


@pytest.fixture(scope="module")
def client(shared_daemon: RunningDaemon) -> Iterator[Client]:
    """An owner, with everything permitted unattended and a tool for each end."""
    with shared_daemon.client() as client:
        apply(client, ALONE)
        quick = "[limits]\nwall_seconds = 1\n"
        add_tool(client, "sleeps", ["/bin/sleep", "60"], rest=quick)
        add_tool(client, "prints", ["/usr/bin/yes"], rest="[limits]\noutput_kib = 1\n")
        python_tool(client, "eats", "x = []\nwhile 1: x.append(b'x' * 2**20)\n")
        yield client


ENDS = {
    "succeeds": ("run_shell", {"command": "true"}, "SUCCEEDED", ""),
    "fails": ("run_shell", {"command": "exit 3"}, "TOOL_FAILED", ""),
    "is signalled": ("run_shell", {"command": "kill -TERM $$"}, "TOOL_SIGNALLED", ""),
    "times out": ("sleeps", {}, "WALL_LIMIT", "wall"),
    "prints too much": ("prints", {}, "OUTPUT_LIMIT", "output"),
}
KINDS = {
    "SUCCEEDED": "call.succeeded",
    "TOOL_FAILED": "call.failed",
    "TOOL_SIGNALLED": "call.failed",
    "WALL_LIMIT": "call.timed_out",
    "OUTPUT_LIMIT": "call.killed",
}


@pytest.mark.parametrize("how", ENDS)
def test_every_transition_has_its_receipt_in_order(client: Client, how: str) -> None:
    """One transition, one receipt: received, permitted, running, and the one end with its kind."""
    tool, arguments, reason, limit = ENDS[how]
    call_id = new_call_id()
    end = finished(list(client.call(tool, arguments, call_id=call_id)))
    assert (end.reason, end.limit) == (reason, limit)
    found = receipts(client, call_id)
    assert [receipt["kind"] for receipt in found] == [*START, KINDS[reason]]
    numbers = [receipt["seq"] for receipt in found]
    assert numbers == sorted(numbers)
    assert found[-1]["body"]["reason"] == reason
    assert {receipt["body"]["call"] for receipt in found} == {call_id}
    assert end.receipt.sequence == numbers[-1]


def test_a_tool_that_eats_all_memory_is_killed_not_failed(client: Client) -> None:
    """A limit's end is never told as the tool's own failure where the limit was seen."""
    end = finished(run(client, "eats"))
    assert end.state in (State.CALL_STATE_KILLED, State.CALL_STATE_FAILED)
    if end.state == State.CALL_STATE_KILLED:
        assert (end.reason, end.limit) == ("MEMORY_LIMIT", "memory")


def test_the_permit_is_durable_before_the_tool_starts(client: Client) -> None:
    """When the first byte of output is seen, permit and start are in the ledger already."""
    call_id = new_call_id()
    script = "echo here; sleep 30"
    with client.call("run_shell", {"command": script}, call_id=call_id) as events:
        for event in events:
            if event.HasField("output"):
                break
        assert [receipt["kind"] for receipt in receipts(client, call_id)] == START
        assert state(client, call_id) == ("RUNNING", "STARTED")
        client.cancel_call(call_id)
    assert [r["kind"] for r in receipts(client, call_id)] == [*START, "call.cancelled"]


def test_what_the_receipts_say(client: Client) -> None:
    """Principal, certificate, tool digest, risk with its inputs, tier, usage and every control."""
    events = run(client, "run_shell", command="echo out; echo err >&2", workspace="work")
    call_id = events[0].call_id
    by_kind = {receipt["kind"]: receipt["body"] for receipt in receipts(client, call_id)}
    received, permitted = by_kind["call.received"], by_kind["call.permitted"]
    assert received["principal"] == client.who_am_i().principal
    assert received["tool_digest"] == client.get_tool("run_shell").digest
    assert received["certificate_serial"]
    assert permitted["tier"] == "process"
    assert permitted["risk_milli"] == 260
    assert permitted["risk"]
    assert [asked["action"] for asked in permitted["questions"]] == [
        "call",
        "run_in_process",
        "call_unattended",
    ]
    assert (
        received["arguments_digest"]
        == hashlib.sha256(b'{"command":"echo out; echo err >&2","workspace":"work"}').hexdigest()
    )
    assert permitted["policy_digest"] == client.status().policy_digest
    assert permitted["policies"] == ["alone"]
    assert len(permitted["call_digest"]) == 64
    done = by_kind["call.succeeded"]
    assert all(type(done[used]) is int for used in ("wall_ms", "cpu_ms", "max_memory_bytes"))
    assert done["exit_code"] == 0
    assert done["stdout"]["bytes"] == 4
    assert done["controls"]
    unmet = {name for name, control in done["controls"].items() if not control["achieved"]}
    # Without control groups nothing weighs a run; a short one is over before it is looked at.
    assert unmet <= (set() if os.geteuid() == 0 else {"weight", "tmp_files"})


def test_output_in_a_receipt_is_a_digest(client: Client) -> None:
    """What a tool printed is in no receipt; its SHA-256 is, and fits what was delivered."""
    events = run(client, "run_shell", command="echo very-recognisable-output")
    found = receipts(client, events[0].call_id)
    digest = hashlib.sha256(output(events)).hexdigest()
    assert found[-1]["body"]["stdout"]["digest"] == f"sha256:{digest}"
    assert "very-recognisable-output" not in str(found)


def test_the_same_id_twice_runs_once(client: Client) -> None:
    """A call sent again under its id is watched, not run again."""
    call_id = new_call_id()
    arguments = {"command": "echo ran >> once.txt; cat once.txt", "workspace": "work"}
    first = list(client.call("run_shell", arguments, call_id=call_id))
    second = list(client.call("run_shell", arguments, call_id=call_id))
    assert output(first) == output(second) == b"ran\n"
    assert len(receipts(client, call_id)) == 4


def test_if_nothing_can_be_written_nothing_runs(daemon: RunningDaemon, workspace: Path) -> None:
    """The ledger's file may not grow: calls are refused, nothing starts; afterwards all is well."""
    mark = workspace / "unrecorded.txt"
    process = psutil.Process(daemon.pid)
    _, hard = process.rlimit(psutil.RLIMIT_FSIZE)
    with daemon.client() as client:
        apply(client, ALONE)
        before = client.status().ledger_sequence
        process.rlimit(psutil.RLIMIT_FSIZE, (16 * 1024, hard))
        for _ in range(3):
            with pytest.raises(Unavailable):
                run(client, "run_shell", command=f"touch {mark.name}", workspace="work")
        assert client.status().ledger_state != "ok"
        assert client.status().ledger_sequence == before
        assert not mark.exists()
        process.rlimit(psutil.RLIMIT_FSIZE, (resource.RLIM_INFINITY, hard))
        assert finished(run(client, "run_shell", command="true")).reason == "SUCCEEDED"
        assert client.status().ledger_state == "ok"
        assert not mark.exists()
    exported = daemon.root / "after.jsonl"
    assert daemon.cli("ledger", "export", str(exported)).status == 0
    key = str(daemon.home.ledger_keys)
    assert daemon.cli("ledger", "verify", str(exported), "--key", key).status == 0
