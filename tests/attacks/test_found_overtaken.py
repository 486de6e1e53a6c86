"""What permitted a call is replaced before the call begins."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stockade.client import Client, new_call_id
from stockade.home import Home
from stockade.v1 import call_pb2
from tests.conftest import config_with
from tests.promises.acting import (
    ALONE,
    Events,
    add_tool,
    connect,
    entries,
    export,
    policy_files,
    run,
    state,
    until,
)
from tests.running import CONFIG, RunningDaemon, finished, running

RATES = (
    "[rates]\ncalls_per_second = 100000\ncalls_burst = 100000\n"
    "administration_per_second = 100000\nadministration_burst = 100000\n"
)
NO = '@id("no") forbid (principal, action == Action::"call", resource == Tool::"heavy");\n'
CHANGES = 60
ONE_AT_A_TIME = "[calls]\nmax_running = 1\n"


def test_no_call_begins_under_a_policy_that_was_replaced_before() -> None:
    """Whatever the race: the permit has the digest that is in force at its place in the ledger."""
    with running(CONFIG + RATES) as daemon, daemon.client() as owner:
        # Its files are compared between the ruling and the start: there is time to change policy.
        files = {f"part{n}": bytes([n]) * 1_000_000 for n in range(8)}
        add_tool(owner, "heavy", ["/bin/true"], files=files)
        sets = policy_files(ALONE), policy_files(ALONE + NO)
        stop = threading.Event()
        callers = [threading.Thread(target=_call, args=(daemon, stop)) for _ in range(3)]
        for caller in callers:
            caller.start()
        try:
            for number in range(CHANGES):
                owner.apply_policy(sets[number % 2])
                time.sleep(0.01)
        finally:
            stop.set()
            for caller in callers:
                caller.join()
        found = entries(export(owner))
    in_force, permits = "", 0
    for receipt in found:
        body = receipt["body"]
        if receipt["kind"] in ("policy.applied", "tool.added"):
            in_force = body["policy_digest"]
        elif receipt["kind"] == "call.permitted":
            permits += 1
            assert body["policy_digest"] == in_force
    assert permits


def _call(daemon: RunningDaemon, stop: threading.Event) -> None:
    with daemon.client() as client:
        while not stop.is_set():
            run(client, "heavy")


class Queue:
    """A call that runs, and one behind it that is permitted and waits for its turn."""

    def __init__(self, owner: Client, caller: Client, workspace: Path) -> None:
        self._owner, self._caller = owner, caller
        self._gate = workspace / f"gate-{new_call_id()}"
        self._waits = new_call_id()
        self._first: Events | None = None
        self._ends: list[call_pb2.CallEvent.Finished] = []

    def begin(self) -> None:
        """Starts the one, and has the other wait."""
        wait = f"until [ -e {self._gate.name} ]; do sleep 0.05; done"
        self._first = self._owner.call("run_shell", {"command": wait, "workspace": "work"})
        for event in self._first:
            if event.HasField("started"):
                break
        self._second = threading.Thread(target=self._wait)
        self._second.start()
        assert until(lambda: state(self._owner, self._waits)[0] == "PERMITTED")

    def _wait(self) -> None:
        arguments = {"command": "echo ran"}
        events = self._caller.call("run_shell", arguments, call_id=self._waits)
        self._ends.append(finished(list(events)))

    def end(self) -> tuple[int, str]:
        """How the second ended."""
        assert self._first is not None
        self._gate.touch()
        assert finished(list(self._first)).state == call_pb2.CALL_STATE_SUCCEEDED
        self._second.join(60)
        self._gate.unlink()
        return self._ends[0].state, self._ends[0].reason


@pytest.fixture
def daemon(workspace: Path) -> Iterator[RunningDaemon]:
    with running(config_with(workspace) + ONE_AT_A_TIME) as made:
        yield made


def _caller_of(daemon: RunningDaemon) -> Home:
    with daemon.client() as owner:
        owner.apply_policy(policy_files(ALONE))
    return daemon.pair_device("caller", "callers")


def test_who_left_the_group_meanwhile_does_not_get_their_turn(
    daemon: RunningDaemon, workspace: Path
) -> None:
    """The policy digest does not cover a device's groups: they are asked about again."""
    home = _caller_of(daemon)
    with daemon.client() as owner, connect(home, daemon) as caller:
        queue = Queue(owner, caller, workspace)
        queue.begin()
        owner.set_device_groups(caller.credentials.device_id, ["auditors"])
        assert queue.end() == (call_pb2.CALL_STATE_FAILED, "POLICY_CHANGED")


def test_who_else_is_paired_meanwhile_changes_nothing(
    daemon: RunningDaemon, workspace: Path
) -> None:
    """Other entities, and the same answers: the call gets its turn."""
    home = _caller_of(daemon)
    with daemon.client() as owner, connect(home, daemon) as caller:
        queue = Queue(owner, caller, workspace)
        queue.begin()
        daemon.pair_device("other", "callers")
        assert queue.end() == (call_pb2.CALL_STATE_SUCCEEDED, "SUCCEEDED")
