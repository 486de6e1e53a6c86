"""From one call to the next nothing is handed on; at whatever stage one ends, nothing stays."""

import contextlib
import json
import os
import random
import signal
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.docker_engine import INSTANCE_LABEL, DockerEngine, EngineError
from stockade.client import Client, new_call_id
from stockade.errors import StockadeError
from stockade.v1 import call_pb2
from tests.promises.acting import (
    ALONE,
    LEFT_SECONDS,
    SOON,
    add_tool,
    apply,
    connect,
    kinds,
    python_tool,
    run,
    sleepers,
    until,
    working_tiers,
)
from tests.running import WITH_ENGINES, RunningDaemon, finished, output, running

MINE = """
permit (principal in Group::"owners", action == Action::"use_secret", resource);
permit (principal, action in [Action::"run_in_process", Action::"run_in_container"], resource);
"""
RISKY = "[capabilities]\nnetwork = true\nfilesystem_write = true\nexternal_apis = true\n"
SENSITIVITY = {"process": "0.1", "container": "1.0", "gvisor": "1.0"}
REST = {"process": "", "container": "", "gvisor": RISKY}
ENDS = {"call.succeeded", "call.failed", "call.cancelled", "call.interrupted"}
# Says all it finds that a call before it could have left, and leaves of everything something.
LOOKS = """
import ctypes, os, re, signal, socket, sys, time
found = []
def tried(what, *how):
    try:
        return what(*how)
    except OSError as error:
        return error.errno
libc = ctypes.CDLL(None, use_errno=True)
for top in ("/tmp", "/dev/shm", "/dev/mqueue", "/run", "/tool", "/var", "/workspace"):
    for here, folders, files in os.walk(top):
        found += [os.path.join(here, name) for name in folders + files]
own = os.getpid()
for pid in sorted(int(name) for name in os.listdir("/proc") if name.isdigit()):
    for name in ("cmdline", "environ"):
        text = tried(lambda: open(f"/proc/{pid}/{name}", "rb").read())
        found.append([name, sorted(text.split(b"\\0")) if isinstance(text, bytes) else ""])
found += [sorted(os.environ.items()), os.getcwd(), socket.gethostname(), os.umask(0o22)]
found += [os.nice(0), os.getpgid(0) == own, signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL]
found += [sorted(os.listdir("/proc/self/fd"))[:3], [line.split()[-1] for line in
          open("/proc/net/unix") if "left" in line]]
found += [libc.shmget(0x5AFE, 4096, 0) >= 0, libc.msgget(0x5AFE, 0) >= 0,
          libc.semget(0x5AFE, 1, 0) >= 0]
found += [tried(os.stat, "/run/secrets/key") if os.environ.get("KEY") is None else "mine"]
sys.stdout.write(repr(found) + "\\n")
sys.stdout.write("unfinished " + TOKEN)
sys.stdout.flush()
for path in ("/tmp/left", "/dev/shm/left", "/run/left", "/tool/left", "/etc/left"):
    tried(lambda: open(path, "w").write(TOKEN))
libc.shmget(0x5AFE, 4096, 0o1777)
libc.msgget(0x5AFE, 0o1777)
libc.semget(0x5AFE, 1, 0o1777)
kept = socket.socket(socket.AF_UNIX)
kept.bind("\\0left")
tried(os.chmod, "/tmp", 0)
held = bytearray(HOG * 2**20)
end = time.process_time() + HOG / 250
while time.process_time() < end:
    pass
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execv("/bin/sleep", ["sleep", "1000", TOKEN])
"""


@pytest.fixture(scope="module")
def daemon() -> Iterator[RunningDaemon]:
    """One daemon with all tiers, for all of this module."""
    with running(WITH_ENGINES) as made:
        with made.client() as client:
            apply(client, ALONE + MINE)
            client.put_secret("secret://global/key", b"opened-for-one-only")
        yield made


def tiers(client: Client) -> list[str]:
    works = [tier for tier, works in working_tiers(client).items() if works]
    if os.environ.get("CI") == "true":
        assert len(works) == len(REST)
    return works


def looks(client: Client, tier: str, who: str, *, hog: int, more: str = "") -> str:
    """A tool that looks, leaves and is recognised by its token."""
    token, name = f"token-of-{who}-{tier}", f"looks_{who}_{tier}"
    code = textwrap.dedent(LOOKS).replace("TOKEN", repr(token)).replace("HOG", str(hog))
    python_tool(client, name, code, sensitivity=SENSITIVITY[tier], rest=REST[tier] + more)
    return name


def report(events: list[call_pb2.CallEvent], tier: str) -> str:
    assert [one.started.tier for one in events if one.HasField("started")] == [tier]
    assert finished(events).state == call_pb2.CALL_STATE_SUCCEEDED, events
    return output(events).decode()


def test_what_one_call_leaves_the_next_does_not_find(daemon: RunningDaemon) -> None:
    """Files, processes, queues, sockets, variables, counters: each call finds a sandbox as new."""
    secret = '[[secrets]]\nreference = "secret://global/key"\n'
    with daemon.client() as owner:
        home = daemon.pair_device("neighbour", "callers")
        with connect(home, daemon) as neighbour:
            for tier in tiers(owner):
                kept = f'{secret}env = "KEY"\n{secret}file = "key"\n'
                loud = looks(owner, tier, "owner", hog=200, more=kept)
                quiet = looks(owner, tier, "other", hog=0)
                first = report(run(neighbour, quiet), tier)
                for _ in range(2):
                    theirs = run(owner, loud)
                    assert "token-of-owner" in report(theirs, tier)
                    events = run(neighbour, quiet)
                    said = report(events, tier)
                    assert said == first
                    assert "owner" not in said
                    assert "opened-for-one-only" not in said
                    used, before = finished(events).usage, finished(theirs).usage
                    assert used.max_memory_bytes < 100 * 2**20 < before.max_memory_bytes
                    # Both count what a start of Python costs, which is the machine's.
                    assert used.cpu_ms < before.cpu_ms


def in_flight(daemon: RunningDaemon, mark: str, count: int) -> list[str]:
    """Calls of every tier, each asked for by a thread of its own, at whatever stage they are."""
    begun = []
    with daemon.client() as client:
        for tier in tiers(client):
            script = f"(setsid sleep {mark} &); echo on; sleep {mark}"
            add_tool(
                client,
                f"stays_{tier}",
                ["/bin/sh", "-c", script],
                sensitivity=SENSITIVITY[tier],
                rest=REST[tier],
            )
            for _ in range(count):
                call_id = new_call_id()
                asking = threading.Thread(target=ask, args=(daemon, f"stays_{tier}", call_id))
                asking.start()
                begun.append(call_id)
    return begun


def ask(daemon: RunningDaemon, tool: str, call_id: str) -> None:
    with contextlib.suppress(StockadeError), daemon.client() as client:
        list(client.call(tool, {}, call_id=call_id, detach=True))


def recorded(client: Client, call_id: str) -> list[str]:
    try:
        return kinds(client, call_id)
    except StockadeError:
        return []


def containers(chain: str) -> list[str]:
    """What of a daemon there is in the engine, and runs; an engine that we may not ask has none."""
    api = DockerEngine("/var/run/docker.sock")
    try:
        return [one.name for one in api.containers({INSTANCE_LABEL: chain}) if one.running]
    except EngineError as error:
        if not error.unreachable:
            raise
        return []
    finally:
        api.close()


def test_cancelled_at_every_stage(daemon: RunningDaemon) -> None:
    """While it starts, takes its request, runs or ends: one end, nothing left, the tier goes on."""
    mark = f"61{os.getpid()}"
    with daemon.client() as client:
        calls = in_flight(daemon, mark, 4)
        random.shuffle(calls)
        for call_id in calls:
            time.sleep(random.uniform(0, 0.15))  # noqa: S311 - any moment
            while not recorded(client, call_id):
                time.sleep(0.01)
            client.cancel_call(call_id)
        for call_id in calls:
            assert [kind for kind in kinds(client, call_id) if kind in ENDS] == ["call.cancelled"]
        assert until(lambda: not sleepers(mark), SOON)
        assert client.status().running_calls == 0
        for tier in tiers(client):
            name = f"after_{tier}"
            add_tool(
                client, name, ["/bin/echo", "x"], sensitivity=SENSITIVITY[tier], rest=REST[tier]
            )
            assert output(run(client, name)) == b"x\n"


@pytest.mark.parametrize("turns", [1, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_at_every_stage(daemon: RunningDaemon, turns: int) -> None:
    """Kill -9 of the daemon whatever its calls are at: tools die by themselves, one end each."""
    mark = f"62{os.getpid()}"
    with daemon.client() as client:
        chain = client.status().ledger_chain
    for _ in range(turns):
        calls = in_flight(daemon, mark, 3)
        time.sleep(random.uniform(0, 1.5))  # noqa: S311 - any moment
        daemon.stop(signal.SIGKILL)
        # Without a restart.
        assert until(lambda: not sleepers(mark), SOON)
        assert until(lambda: containers(chain) == [], LEFT_SECONDS), containers(chain)
        daemon.start()
        with daemon.client() as client:
            known = [found for call_id in calls if (found := recorded(client, call_id))]
            for found in known:
                assert len([kind for kind in found if kind in ENDS]) == 1, found
                assert "call.running" not in found or found[-1] == "call.interrupted"
            tiers(client)
            assert not sleepers(mark)


def test_after_all_of_it(daemon: RunningDaemon) -> None:
    """What was killed and cancelled left no group, no scratch and no container behind."""
    daemon.restart()  # what the kernel did not let go of in time at the last start goes at this one
    with daemon.client() as client:
        tiers(client)
        chain = client.status().ledger_chain
        last = json.loads(client.read_ledger(page_size=1).receipts[0].canonical)
        assert last
    daemon.stop()
    until(lambda: containers(chain) == [], LEFT_SECONDS)
    assert containers(chain) == []
    # Not by a pattern: others' groups go while they are looked through.
    groups = [name for _, names, _ in os.walk("/sys/fs/cgroup") for name in names]
    assert not [name for name in groups if name.startswith(f"stockade-{chain}-")]
    assert not list(Path("/tmp").glob(f"stockade-{chain}-*"))
    mounts = Path("/proc/self/mountinfo").read_text()
    assert chain not in mounts
    daemon.start()
