"""Promise 8: nothing outlives its call. The daemon's own death, and its orderly end."""

import json
import os
import signal
import time
from collections.abc import Iterator

import pytest

from stockade.client import Client, new_call_id
from stockade.home import Home
from stockade.v1 import approval_pb2, call_pb2
from tests.promises.acting import (
    ALONE,
    DEADLINE,
    SOON,
    Events,
    apply,
    ask,
    connect,
    kinds,
    receipts,
    sleepers,
    state,
    until,
)
from tests.running import RunningDaemon, output

TREE = "(setsid sleep {0} &); (trap '' TERM HUP INT; sleep {0}) & sleep {0}"


@pytest.fixture(scope="module")
def crashing(shared_daemon: RunningDaemon) -> RunningDaemon:
    """One daemon for all tests here: each ends it in its own way and starts it again."""
    return shared_daemon


@pytest.fixture(scope="module")
def approver_device(crashing: RunningDaemon) -> Home:
    """The credentials of a device that may approve, paired once."""
    return crashing.pair_device("second", "approvers")


def start_tree(client: Client, mark: str, *, detach: bool) -> tuple[str, Events]:
    """A running call with a tree of three processes: its id, and the stream that holds it."""
    call_id = new_call_id()
    arguments = {"command": TREE.format(mark)}
    events = client.call("run_shell", arguments, call_id=call_id, detach=detach)
    assert any(event.HasField("started") for event in events)
    assert until(lambda: len(sleepers(mark)) == 3)
    return call_id, events


def verified(daemon: RunningDaemon) -> None:
    """The whole chain, exported and verified offline."""
    file = str(daemon.root / "exported.jsonl")
    assert daemon.cli("ledger", "export", file).status == 0
    answer = daemon.cli("ledger", "verify", file, "--key", str(daemon.home.ledger_keys))
    assert answer.status == 0, answer.err


@pytest.mark.parametrize("detach", [False, True])
def test_a_killed_daemon_leaves_nothing_running(crashing: RunningDaemon, detach: bool) -> None:
    """Kill -9 in the middle of a call: the tree dies with it; the next start says so, once."""
    mark = f"4{os.getpid()}.{int(detach)}"
    with crashing.client() as client:
        apply(client, ALONE)
        call_id, held = start_tree(client, mark, detach=detach)
        crashing.stop(signal.SIGKILL)
        assert until(lambda: not sleepers(mark), SOON)
        del held
    crashing.start()
    with crashing.client() as client:
        assert state(client, call_id) == ("INTERRUPTED", "DAEMON_DIED")
        end = list(client.watch_call(call_id))[-1].finished
        assert end.state == call_pb2.CALL_STATE_INTERRUPTED
    crashing.restart(signal.SIGKILL)
    with crashing.client() as client:
        assert kinds(client, call_id) == [
            "call.received",
            "call.permitted",
            "call.running",
            "call.interrupted",
        ]
    verified(crashing)


def test_killed_again_and_again_it_loses_nothing(crashing: RunningDaemon) -> None:
    """Calls under fire: each that was told as permitted has one end after the last restart."""
    begun: list[str] = []
    for turn in range(3):
        with crashing.client() as client:
            apply(client, ALONE)
            for _ in range(6):
                call_id = new_call_id()
                script = {"command": "sleep 0.0$RANDOM; echo x"}
                events = client.call("run_shell", script, call_id=call_id, detach=True)
                next(iter(events))
                begun.append(call_id)
            time.sleep(0.02 * turn)
            crashing.stop(signal.SIGKILL)
        crashing.start()
    ends = {"call.succeeded", "call.failed", "call.interrupted"}
    with crashing.client() as client:
        for call_id in begun:
            found = kinds(client, call_id)
            assert len([kind for kind in found if kind in ends]) == 1, found
            assert found[-1] in ends
    verified(crashing)


def test_a_waiting_detached_call_survives_and_runs(
    crashing: RunningDaemon, approver_device: Home
) -> None:
    """Its approval is in the database: after kill -9 it still waits, and a yes still runs it."""
    with crashing.client() as owner:
        apply(owner, "")
        waiting = ask(owner, "run_shell", command="echo survived", detach=True)
        crashing.stop(signal.SIGKILL)
    crashing.start()
    with crashing.client() as owner, connect(approver_device, crashing) as approver:
        assert state(owner, waiting.call_id)[0] == "PENDING_APPROVAL"
        [again] = approver.list_approvals()
        assert again.statement == waiting.approval.statement
        watched = owner.watch_call(waiting.call_id)
        approver.answer_approval(again, approve=True)
        events = list(watched)
        assert events[-1].finished.state == call_pb2.CALL_STATE_SUCCEEDED
        assert output(events) == b"survived\n"
        assert owner.get_approval(again.approval_id).state == approval_pb2.APPROVAL_STATE_USED
        assert kinds(owner, waiting.call_id).count("approval.asked") == 1
    verified(crashing)


def test_a_waiting_detached_call_survives_an_orderly_end(
    crashing: RunningDaemon, approver_device: Home
) -> None:
    """SIGTERM neither answers nor cancels what waits for a human with nobody attached."""
    with crashing.client() as owner:
        apply(owner, "")
        waiting = ask(owner, "run_shell", command="true", detach=True)
    assert crashing.stop() == 0
    crashing.start()
    with crashing.client() as owner, connect(approver_device, crashing) as approver:
        watched = owner.watch_call(waiting.call_id)
        approver.answer_approval(waiting.approval, approve=True)
        assert list(watched)[-1].finished.state == call_pb2.CALL_STATE_SUCCEEDED


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_waiting_attached_call_ends_with_the_daemon(
    crashing: RunningDaemon, how: signal.Signals
) -> None:
    """Nobody is attached after a restart, so what was not detached is cancelled, and withdrawn."""
    with crashing.client() as owner:
        apply(owner, "")
        waiting = ask(owner, "run_shell", command="true")
        crashing.stop(how)
    crashing.start()
    with crashing.client() as owner:
        reason = "DAEMON_RESTARTED" if how is signal.SIGKILL else "DAEMON_STOPPED"
        found, why = state(owner, waiting.call_id)
        assert found == "CANCELLED"
        # The daemon's end cuts the caller's stream, which is as good a reason.
        assert why in (reason, "CALLER_GONE")
        gone = owner.get_approval(waiting.approval.approval_id)
        assert gone.state == approval_pb2.APPROVAL_STATE_WITHDRAWN
        assert not owner.list_approvals()
    verified(crashing)


@pytest.mark.parametrize("detach", [False, True])
def test_an_orderly_end_ends_calls_in_bounded_time(crashing: RunningDaemon, detach: bool) -> None:
    """SIGTERM with a call under way: the drain time passes, the tree dies, it is all recorded."""
    mark = f"5{os.getpid()}.{int(detach)}"
    with crashing.client() as client:
        apply(client, ALONE)
        call_id, held = start_tree(client, mark, detach=detach)
        began = time.monotonic()
        assert crashing.stop() == 0
        assert time.monotonic() - began < DEADLINE
        assert not sleepers(mark)
        del held
    crashing.start()
    with crashing.client() as client:
        assert state(client, call_id) == ("CANCELLED", "DAEMON_STOPPED")
        assert kinds(client, call_id)[-1] == "call.cancelled"
        all_kinds = [json.loads(r.canonical)["kind"] for r in client.read_ledger().receipts]
        assert "daemon.stopped" in all_kinds
    verified(crashing)


@pytest.fixture
def draining(crashing: RunningDaemon) -> Iterator[RunningDaemon]:
    """The daemon, with time for what nearly has finished on a busy machine."""
    config = crashing.home.config_file
    text = config.read_text()
    config.write_text(text.replace("drain_seconds = 1\n", "drain_seconds = 60\n"))
    yield crashing.restart()
    config.write_text(text)
    crashing.restart()


def test_a_call_that_finishes_in_the_drain_time_succeeds(draining: RunningDaemon) -> None:
    """An orderly end lets a call finish that nearly has."""
    with draining.client() as client:
        apply(client, ALONE)
        call_id = new_call_id()
        events = client.call("run_shell", {"command": "sleep 0.4"}, call_id=call_id, detach=True)
        assert any(event.HasField("started") for event in events)
        assert draining.stop() == 0
    draining.start()
    with draining.client() as client:
        assert receipts(client, call_id)[-1]["kind"] == "call.succeeded"
