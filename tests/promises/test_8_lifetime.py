"""Promise 8: nothing outlives its call. Callers that go, limits, and readers that do not read."""

import contextlib
import itertools
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from stockade.client import Client, new_call_id
from stockade.v1 import call_pb2
from tests.promises.acting import (
    ALONE,
    DEADLINE,
    SOON,
    add_tool,
    apply,
    kinds,
    python_tool,
    run,
    sleepers,
    state,
    until,
)
from tests.running import STOCKADE, RunningDaemon, finished, output

MIB = 2**20
_numbers = itertools.count(1)
# A child, a grandchild in a session of its own, and one that ignores what can be ignored.
TREE = "(setsid sleep {0} &); (trap '' TERM HUP INT; sleep {0}) & sleep {0}"
CROWD = 40


def new_mark() -> str:
    """A number of seconds that no other process sleeps."""
    return f"3{os.getpid()}.{next(_numbers)}"


@pytest.fixture(scope="module")
def client(shared_daemon: RunningDaemon) -> Iterator[Client]:
    """An owner, with everything permitted unattended."""
    with shared_daemon.client() as client:
        apply(client, ALONE)
        yield client


def all_up(mark: str) -> bool:
    return len(sleepers(mark)) == 3


def all_gone(mark: str) -> bool:
    return not sleepers(mark)


def command_line(daemon: RunningDaemon, mark: str, *extra: str) -> "subprocess.Popen[bytes]":
    """`stockade call` as a process of its own, its tool's whole tree running."""
    script = "echo ready; " + TREE.format(mark)
    process = subprocess.Popen(
        [STOCKADE, "call", "run_shell", "--arg", f"command={script}", "--json", *extra],
        env=daemon.environ(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert until(lambda: all_up(mark))
    return process


def newest(client: Client) -> str:
    return client.list_calls(page_size=1).calls[0].call_id


def test_a_caller_that_is_killed_takes_its_tool_along(
    shared_daemon: RunningDaemon, client: Client
) -> None:
    """The client dies without a word: its tool's whole tree is dead, and the call cancelled."""
    mark = new_mark()
    process = command_line(shared_daemon, mark)
    call_id = newest(client)
    process.kill()
    process.communicate()
    assert until(lambda: all_gone(mark), SOON)
    assert until(lambda: state(client, call_id) == ("CANCELLED", "CALLER_GONE"), SOON)
    assert kinds(client, call_id)[-2:] == ["call.running", "call.cancelled"]
    with client.watch_call(call_id) as events:
        (end,) = [event.finished for event in events if event.HasField("finished")]
    assert "--detach" in end.fix


def test_an_interrupted_command_cancels_and_says_so(
    shared_daemon: RunningDaemon, client: Client
) -> None:
    """Ctrl-C ends the call, not only the command: exit status 15, nothing left running."""
    mark = new_mark()
    process = command_line(shared_daemon, mark)
    call_id = newest(client)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=DEADLINE)
    assert process.returncode == 15
    assert all_gone(mark)
    assert state(client, call_id)[0] == "CANCELLED"


def test_a_detached_call_goes_on_and_can_be_watched(
    shared_daemon: RunningDaemon, client: Client, workspace: Path
) -> None:
    """The caller leaves; the tool goes on; a watcher that comes later gets output and end."""
    gate = workspace / f"gate-{new_mark()}"
    script = f"echo before; while [ ! -e {gate.name} ]; do sleep 0.05; done; echo after"
    call_id = new_call_id()
    with shared_daemon.client() as leaving:
        arguments = {"command": script, "workspace": "work"}
        for event in leaving.call("run_shell", arguments, call_id=call_id, detach=True):
            if event.HasField("output"):
                break
    assert state(client, call_id) == ("RUNNING", "STARTED")
    watched = client.watch_call(call_id)
    gate.touch()
    events = list(watched)
    assert finished(events).state == call_pb2.CALL_STATE_SUCCEEDED
    assert output(events) == b"before\nafter\n"
    assert list(client.watch_call(call_id)) == events


def test_a_watcher_that_leaves_cancels_nothing(client: Client) -> None:
    """Only the stream that began a call is its caller."""
    call_id = new_call_id()
    arguments = {"command": "echo up; read line; sleep 0.5; echo done"}
    events = client.call("run_shell", arguments, call_id=call_id)
    assert any(event.HasField("output") for event in events)
    for event in client.watch_call(call_id):
        if event.HasField("output"):
            break
    rest = list(events)
    assert rest[-1].finished.state == call_pb2.CALL_STATE_SUCCEEDED


def test_cancelling_by_id_ends_the_tree(client: Client) -> None:
    """When the cancel returns, everything of the call is dead and the end recorded."""
    mark, call_id = new_mark(), new_call_id()
    arguments = {"command": TREE.format(mark)}
    events = client.call("run_shell", arguments, call_id=call_id)
    assert any(event.HasField("started") for event in events)
    assert until(lambda: all_up(mark))
    answer = client.cancel_call(call_id)
    assert answer.state == call_pb2.CALL_STATE_CANCELLED
    assert all_gone(mark)
    end = finished(list(events))
    assert (end.state, end.reason) == (call_pb2.CALL_STATE_CANCELLED, "CANCELLED_BY_REQUEST")
    assert client.cancel_call(call_id).state == call_pb2.CALL_STATE_CANCELLED


def test_a_cancel_returns_when_the_last_of_many_is_dead(client: Client) -> None:
    """The kernel takes its time to end them all; nobody is told before it has."""
    mark, call_id = new_mark(), new_call_id()
    crowd = f"for one in $(seq {CROWD}); do sleep {mark} & done; wait"
    with client.call("run_shell", {"command": crowd}, call_id=call_id):
        assert until(lambda: len(sleepers(mark)) == CROWD)
        client.cancel_call(call_id)
        assert all_gone(mark)


def test_the_wall_limit_ends_the_tree(client: Client) -> None:
    """Timed out is an end of its own, and no grandchild is left behind by it."""
    mark = new_mark()
    add_tool(
        client,
        "lingers",
        ["/bin/sh", "-c", TREE.format(mark)],
        rest="[limits]\nwall_seconds = 2\n",
    )
    end = finished(run(client, "lingers"))
    assert (end.state, end.reason) == (call_pb2.CALL_STATE_TIMED_OUT, "WALL_LIMIT")
    assert end.limit == "wall"
    assert all_gone(mark)


def test_what_a_tool_leaves_behind_ends_with_it(client: Client) -> None:
    """The tool exits and leaves daemons of its own: they are dead when the call has ended."""
    mark = new_mark()
    script = f"(setsid sleep {mark} >/dev/null 2>&1 </dev/null &); sleep 0.2; echo gone"
    events = run(client, "run_shell", command=script)
    assert finished(events).state == call_pb2.CALL_STATE_SUCCEEDED
    assert output(events) == b"gone\n"
    assert all_gone(mark)


def test_a_grandchild_that_holds_the_output_does_not_hold_the_call(client: Client) -> None:
    """A background process with the tool's standard output open does not keep the call open."""
    mark = new_mark()
    started = time.monotonic()
    events = run(client, "run_shell", command=f"sleep {mark} & echo out")
    assert finished(events).state == call_pb2.CALL_STATE_SUCCEEDED
    assert time.monotonic() - started < DEADLINE
    assert all_gone(mark)


def left(daemon: RunningDaemon, chain: str) -> tuple[set[str], set[str]]:
    """Programs under the daemon that are not sandboxes waiting for a call; groups likewise."""
    programs, busy = set(), set()
    for child in psutil.Process(daemon.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            argv = child.cmdline()
            if argv and argv != ["/bin/sh"] and not Path(argv[0]).name.startswith("bwrap"):
                programs.add(" ".join(argv))
    # Not by a pattern: others' groups go while they are looked through.
    found = (Path(here, name) for here, names, _ in os.walk("/sys/fs/cgroup") for name in names)
    for group in (one for one in found if one.name.startswith(f"stockade-{chain}-")):
        with contextlib.suppress(OSError):
            members = (group / "cgroup.procs").read_text().split()
            waiting = [Path(f"/proc/{pid}/cmdline").read_bytes() == b"/bin/sh\0" for pid in members]
            if waiting.count(True) != 1:
                busy.add(group.name)
    return programs, busy


def test_no_group_of_a_call_is_left(client: Client, shared_daemon: RunningDaemon) -> None:
    """A second after a call, what is left on the host waits for another and knows of none."""
    chain = client.status().ledger_chain
    for _ in range(3):
        run(client, "run_shell", command="(setsid sleep 77 &) ; true")
    assert until(lambda: left(shared_daemon, chain) == (set(), set()), SOON), left(
        shared_daemon, chain
    )


def test_a_slow_reader_slows_the_tool_and_never_grows_the_daemon(
    client: Client, shared_daemon: RunningDaemon
) -> None:
    """100 MB to a reader that does not read: the daemon stays small, and nothing is lost."""
    size = 100 * MIB
    code = "import sys\nblock = bytes(range(256)) * 4096\n"
    code += f"for _ in range({size // MIB}): sys.stdout.buffer.write(block)\n"
    limits = "[limits]\noutput_kib = 262144\nwall_seconds = 120\n"
    python_tool(client, "pours", code, rest=limits)
    before, most = shared_daemon.own_bytes, 0
    with shared_daemon.client() as slow:
        events = slow.call("pours", {})
        assert any(event.HasField("started") for event in events)
        end = time.monotonic() + 3
        while time.monotonic() < end:
            most = max(most, shared_daemon.own_bytes)
            time.sleep(0.05)
        assert client.status().running_calls == 1
        position, done = 0, None
        for event in events:
            if event.HasField("output"):
                assert event.output.offset == position
                position += len(event.output.data)
                most = max(most, shared_daemon.own_bytes)
            elif event.HasField("finished"):
                done = event.finished
    assert position == size
    assert done is not None
    assert done.state == call_pb2.CALL_STATE_SUCCEEDED
    assert most - before < 24 * MIB


@pytest.mark.parametrize("secret", [False, True], ids=["", "with a secret"])
def test_a_reader_that_never_reads_does_not_keep_the_call(
    client: Client, shared_daemon: RunningDaemon, secret: bool
) -> None:
    """The caller stays connected and reads nothing: the limits still end the call, in time."""
    rest = "[limits]\noutput_kib = 65536\nwall_seconds = 2\n"
    if secret:
        client.put_secret("secret://global/held", b"held-back-by-redaction")
        rest += '[[secrets]]\nreference = "secret://global/held"\nenv = "HELD"\n'
        apply(client, ALONE + 'permit (principal, action == Action::"use_secret", resource);')
    # The beginning of the secret, which redaction holds back until the end, on the other stream.
    code = "import sys\nsys.stderr.write('held-back-by')\nsys.stderr.flush()\n"
    code += "while 1: sys.stdout.write('x' * 65536)\n"
    name = f"floods{int(secret)}"
    python_tool(client, name, code, rest=rest)
    call_id = new_call_id()
    with shared_daemon.client() as stuck:
        events = stuck.call(name, {}, call_id=call_id)
        assert any(event.HasField("started") for event in events)
        assert until(lambda: state(client, call_id)[0] == "TIMED_OUT"), state(client, call_id)
        assert until(lambda: client.status().running_calls == 0, SOON)
        del events
