"""Clients that are slow, stand still, or have no time: each costs what it may, and no more."""

import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from stockade.client import new_call_id
from stockade.v1 import tool_pb2, tool_pb2_grpc
from tests.conftest import config_with
from tests.promises.acting import ALONE, apply, kinds, python_tool, sleepers, state, until
from tests.running import STOCKADE, RunningDaemon, finished, running

MIB = 1024 * 1024
OUTPUT = 100 * MIB
# What is kept of a call for late watchers, what is on its way in gRPC and pipes, and some room.
KEPT = 24 * MIB
PRINTS = f"""
import sys
for _ in range({OUTPUT // 65536}):
    sys.stdout.buffer.write(b"x" * 65536)
"""


@pytest.fixture(scope="module")
def daemon(workspace: Path) -> Iterator[RunningDaemon]:
    config = config_with(workspace).replace("[server]\n", "[server]\nkeepalive_seconds = 15\n")
    with running(config) as made:
        with made.client() as client:
            apply(client, ALONE)
            python_tool(client, "prints", PRINTS, rest="[limits]\noutput_kib = 262144\n")
        yield made


def test_a_slow_reader_costs_no_memory(daemon: RunningDaemon) -> None:
    """100 MiB to a client that stands still between reads: the tool waits, the daemon is small."""
    with daemon.client() as client:
        assert finished(list(client.call("run_shell", {"command": "true"}))).reason == "SUCCEEDED"
        before = daemon.own_bytes
        highest, read = before, 0
        for number, event in enumerate(client.call("prints", {})):
            if event.HasField("output"):
                read += len(event.output.data)
            if number < 40:
                time.sleep(0.1)
            if number < 40 or number % 50 == 0:
                highest = max(highest, daemon.own_bytes)
        assert event.finished.reason == "SUCCEEDED"
    assert read == OUTPUT
    assert highest - before < KEPT


def test_a_reader_that_reads_nothing_holds_nothing_up(daemon: RunningDaemon) -> None:
    """While one does not read at all, others are served, and its own call waits with little."""
    before = daemon.own_bytes
    with daemon.client() as idle, daemon.client() as other:
        stream = idle.call("prints", {})
        next(iter(stream))
        for _ in range(5):
            ended = finished(list(other.call("run_shell", {"command": "true"})))
            assert ended.reason == "SUCCEEDED"
        assert daemon.own_bytes - before < KEPT
        stream.cancel()


def test_a_deadline_ends_the_call_that_missed_it(daemon: RunningDaemon) -> None:
    """Who gives a call fifteen seconds gets no answer after them, and nothing goes on running."""
    mark = f"9{daemon.pid}"
    call_id = new_call_id()
    with daemon.client() as client:
        stub = tool_pb2_grpc.ToolServiceStub(client._connection.channel)
        request = tool_pb2.CallRequest(
            call_id=call_id, tool="run_shell", arguments=f'{{"command": "sleep {mark}"}}'.encode()
        )
        with pytest.raises(grpc.RpcError) as missed:
            list(stub.Call(request, timeout=15))
        assert missed.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        assert until(lambda: not sleepers(mark))
        assert until(lambda: state(client, call_id) == ("CANCELLED", "CALLER_GONE"))
        assert kinds(client, call_id)[-1] == "call.cancelled"


def test_a_client_that_stands_still_is_taken_for_gone(daemon: RunningDaemon) -> None:
    """Stopped, or without power: it closes nothing, and its call ends all the same."""
    mark = f"8{daemon.pid}"
    with subprocess.Popen(
        [STOCKADE, "call", "run_shell", "--arg", f"command=sleep {mark}"],
        env=daemon.environ(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as still:
        try:
            assert until(lambda: bool(sleepers(mark)))
            still.send_signal(signal.SIGSTOP)
            assert until(lambda: not sleepers(mark))
        finally:
            still.kill()


def test_a_client_that_is_only_silent_is_not(daemon: RunningDaemon) -> None:
    """A call that says nothing for longer than that is left alone."""
    with daemon.client() as client:
        ended = finished(list(client.call("run_shell", {"command": "sleep 25"})))
    assert ended.reason == "SUCCEEDED"
