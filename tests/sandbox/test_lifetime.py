"""Nothing outlives its run: not on exit, timeout, cancel, nor when the daemon is killed.

The fixtures also check after every test of this folder that no process and no control group is
left.
"""

import asyncio
import gc
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import anyio
import pytest

from sandbox import End, ProcessSandbox, ProcessSettings, SpecRefusedError, TierUnavailableError
from sandbox.tier import Stream
from tests.host import of_each_process
from tests.sandbox.conftest import (
    LIMITS,
    Collected,
    ContainerRunner,
    ProcessRunner,
    Runner,
    limits,
    make_spec,
    open_descriptors,
    python,
    settled,
    shell,
    wait_until,
)

pytestmark = pytest.mark.anyio

# In seconds: what ends within this did not end by the clock.
WELL_BEFORE_THE_LIMIT = LIMITS.wall_seconds * 0.75

_DOUBLE_FORK = """
import os, time
told, tell = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.write(1, b"ready")
        os.write(tell, b"x")
        time.sleep(1000)
    os.read(told, 1)
    os._exit(0)
os.wait()
"""


def children() -> set[int]:
    """Our own, the dead ones that nobody has reaped included."""
    stats = of_each_process("stat")
    parents = {pid: int(stat.rpartition(b")")[2].split()[1]) for pid, stat in stats.items()}
    return {pid for pid, parent in parents.items() if parent == os.getpid()}


def gone_within(runner: Runner, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while runner.processes():
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


async def test_grandchild_holding_stdout(runner: Runner) -> None:
    """A double-forked grandchild in its own session holds stdout: the run ends, and so does it."""
    outcome, sink = await runner(python(_DOUBLE_FORK))
    assert (outcome.end, outcome.exit_code, sink.text) == (End.EXITED, 0, "ready")
    assert outcome.usage.wall_ms < WELL_BEFORE_THE_LIMIT * 1000
    await settled(runner)
    assert runner.processes() == []


async def test_background_child(runner: Runner) -> None:
    """A shell that leaves a background job ends with its own code, at once."""
    with anyio.fail_after(WELL_BEFORE_THE_LIMIT):
        outcome, _ = await runner(shell("sleep 1000 & nohup sleep 1000 & exit 4"))
    assert outcome.exit_code == 4


async def test_timeout_kills_the_tree(runner: Runner) -> None:
    """A timeout kills children, sessions and orphans alike."""
    script = "setsid sleep 1000 & (setsid sleep 1000 &) ; sleep 1000"
    outcome, _ = await runner(shell(script, limits=limits(wall_seconds=0.3)))
    assert outcome.end is End.TIMED_OUT
    await settled(runner)
    assert runner.processes() == []


async def test_cancel(runner: Runner) -> None:
    """Cancelling ends the tool at once and is passed on."""
    started = anyio.Event()

    async def note(_stream: Stream, _data: bytes) -> None:
        started.set()

    async with anyio.create_task_group() as group:
        spec = shell("trap '' TERM INT; echo; setsid sleep 1000 & sleep 1000")
        group.start_soon(runner.sandbox.run, spec, note)
        await started.wait()
        begin = time.monotonic()
        group.cancel_scope.cancel()
    assert time.monotonic() - begin < WELL_BEFORE_THE_LIMIT
    await settled(runner)
    assert runner.processes() == []


async def test_cancel_while_starting(runner: Runner) -> None:
    """Cancelled at any moment of the start, nothing is left, neither process nor descriptor."""
    await runner(make_spec("/bin/true"))
    await settled(runner)
    before = open_descriptors()
    for milliseconds in (0, 1, 2, 3, 4, 6, 8, 12, 20):
        with anyio.move_on_after(milliseconds / 1000):
            await runner(shell("sleep 1000"))
        await settled(runner)
        assert runner.processes() == [], milliseconds
        # A thread that asked the engine may be a moment longer about it.
        wait_until(lambda: open_descriptors() == before, 30)
        assert open_descriptors() == before, milliseconds


async def test_cancelled_error_is_raised(run: Runner) -> None:
    """The event loop's own cancellation comes out as CancelledError, not as an outcome."""
    task = asyncio.ensure_future(run(shell("sleep 1000")))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_nothing_accumulates(runner: Runner) -> None:
    """Descriptors and zombies do not grow with the number of runs, however they end."""
    specs = ("true", "kill -9 $$", "yes", "sleep 1000")
    wanted = limits(wall_seconds=0.2, output_bytes=1000)

    async def all_kinds() -> None:
        for script in specs:
            await runner(shell(script, limits=wanted))

    await all_kinds()
    await settled(runner)
    gc.collect()
    before = open_descriptors(), children()
    for _ in range(2 if isinstance(runner, ContainerRunner) else 5):
        await all_kinds()
    await settled(runner)
    wait_until(lambda: (open_descriptors(), children()) == before, 30)
    assert (open_descriptors(), children()) == before


async def test_many_at_once(runner: Runner) -> None:
    """Twenty runs at once each get their own output and end."""
    texts: dict[int, str] = {}

    async def one(number: int) -> None:
        texts[number] = await runner.text(shell(f"echo {number}; sleep 0.05"))

    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(one, number)
    assert texts == {number: str(number) for number in range(20)}


async def test_run_id_in_use(run: Runner) -> None:
    """Two runs with one id at once: the second is refused and the first goes on."""
    sink = Collected()
    refused: list[str] = []

    async def meanwhile(stream: Stream, data: bytes) -> None:
        await sink(stream, data)
        if not refused:
            with pytest.raises(SpecRefusedError) as caught:
                await run(shell("true", run_id="twice"))
            refused.append(caught.value.code)

    await run.sandbox.run(shell("echo up; sleep 0.1; echo done", run_id="twice"), meanwhile)
    assert refused == ["RUN_ID_IN_USE"]
    assert sink.text.split() == ["up", "done"]


async def test_engine_killed(bwrap: ProcessRunner) -> None:
    """If somebody kills bubblewrap, the tool dies and the engine is blamed, not the tool."""

    async def kill(_stream: Stream, _data: bytes) -> None:
        os.kill(bwrap.processes()[0], signal.SIGKILL)

    outcome = await bwrap.sandbox.run(shell("echo; sleep 1000"), kill)
    assert outcome.end is End.ENGINE_FAILURE
    assert bwrap.processes() == []


async def test_engine_missing() -> None:
    """Without bubblewrap nothing is started, and the error says what to install."""
    sandbox = ProcessSandbox(ProcessSettings("abcd", bubblewrap="/nonexistent/bwrap"))
    with pytest.raises(TierUnavailableError) as caught:
        await sandbox.run(make_spec("/bin/true"), Collected())
    assert caught.value.code == "BWRAP_MISSING"
    assert "apt-get install bubblewrap" in caught.value.fix


_NO_NAMESPACES = """
import anyio
from sandbox import ProcessSandbox, ProcessSettings, TierUnavailableError
from tests.sandbox.conftest import Collected, make_spec
async def main():
    try:
        await ProcessSandbox(ProcessSettings("abcd")).run(make_spec("/bin/true"), Collected())
    except TierUnavailableError as error:
        print(error.code, error.fix)
anyio.run(main)
"""


def test_user_namespaces_switched_off() -> None:
    """Where the kernel has stopped giving user namespaces, the run is refused, with the setting."""
    # A user namespace has that setting for itself: 0 for us, and nobody else is touched.
    off = "echo 0 >/proc/sys/user/max_user_namespaces"
    drop = "exec setpriv --inh-caps=-all --ambient-caps=-all"
    done = subprocess.run(
        ["unshare", "--user", "--map-user=1000", "--map-group=1000", "--keep-caps", "sh", "-c",
         f'{off} && {drop} "$@"', "sh", sys.executable, "-c", _NO_NAMESPACES],
        cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert done.stdout.startswith("USER_NAMESPACES_OFF sysctl -w user.max_user_names"), done.stderr


async def test_engine_broken(place: Path) -> None:
    """A bubblewrap that fails is an engine failure with its own words, and nothing weaker."""
    broken = place / "bwrap"
    broken.write_text("#!/bin/sh\necho broken by hand >&2\nexit 0\n")
    broken.chmod(0o755)
    sandbox = ProcessSandbox(ProcessSettings("abcd", bubblewrap=str(broken)))
    outcome = await sandbox.run(make_spec("/bin/true"), Collected())
    assert outcome.end is End.ENGINE_FAILURE
    assert outcome.detail == "broken by hand"
    assert outcome.exit_code is None


async def test_engine_hangs(place: Path) -> None:
    """A bubblewrap that says nothing is given up after the time for setting up."""
    broken = place / "bwrap"
    broken.write_text("#!/bin/sh\nexec sleep 1000\n")
    broken.chmod(0o755)
    settings = ProcessSettings("abcd", bubblewrap=str(broken), setup_seconds=0.2)
    with anyio.fail_after(60):
        outcome = await ProcessSandbox(settings).run(make_spec("/bin/true"), Collected())
    assert outcome.end is End.ENGINE_FAILURE


def start_victim(bwrap: ProcessRunner) -> "subprocess.Popen[bytes]":
    root = Path(__file__).parents[2]
    use = "yes" if bwrap.settings.use_cgroups else "no"
    victim = subprocess.Popen(
        [sys.executable, "-m", "tests.sandbox.victim", bwrap.settings.instance, use],
        cwd=root,
        stdout=subprocess.PIPE,
    )
    assert victim.stdout is not None
    assert victim.stdout.readline() == b"starting\n"
    return victim


def slay(victim: "subprocess.Popen[bytes]") -> None:
    victim.kill()
    victim.wait()
    assert victim.stdout is not None
    victim.stdout.close()


async def test_daemon_killed(bwrap: ProcessRunner) -> None:
    """SIGKILL of the daemon kills the whole sandbox at once."""
    victim = start_victim(bwrap)
    assert victim.stdout is not None
    assert victim.stdout.readline() == b"up\n"
    assert len(bwrap.processes()) >= 4
    slay(victim)
    assert gone_within(bwrap, 60)
    await bwrap.sandbox.reap()
    assert bwrap.groups() == []


async def test_daemon_killed_while_starting(bwrap: ProcessRunner) -> None:
    """Killed at any moment of the start, no tool goes on running, and a restart finds the rest."""
    for milliseconds in (0, 2, 4, 6, 8):
        victim = start_victim(bwrap)
        await anyio.sleep(milliseconds / 1000)
        slay(victim)
        await anyio.sleep(0.05)
        await bwrap.sandbox.reap()
        assert gone_within(bwrap, 60)
        await bwrap.sandbox.reap()  # what was still dying had its group
        assert bwrap.groups() == []


async def test_reap_leaves_others_alone(run: Runner) -> None:
    """Reaping removes this instance's leftovers, not another's, nor a run that is under way."""
    other = ProcessSandbox(ProcessSettings("otherinstance"))
    sink = Collected()
    reaped: list[int] = []

    async def meanwhile(stream: Stream, data: bytes) -> None:
        await sink(stream, data)
        if not reaped:
            reaped.extend((await other.reap(), await run.sandbox.reap()))

    await run.sandbox.run(shell("echo up; sleep 0.3; echo done"), meanwhile)
    assert reaped == [0, 0]
    assert sink.text.split() == ["up", "done"]


async def test_the_gate_holds(bwrap: ProcessRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the limits cannot be set, the tool never starts."""
    from sandbox import rlimits

    def fail(_pid: int, _wanted: object) -> None:
        raise OSError("refused by the test")

    # Wherever they are set: from outside, or by the shell that becomes bubblewrap.
    monkeypatch.setattr(rlimits, "apply", fail)
    monkeypatch.setattr(rlimits, "in_shell", lambda *_: ("ulimit -n 99999999",))
    outcome, sink = await bwrap(shell("echo started"))
    assert outcome.end is End.ENGINE_FAILURE
    assert sink.out == b""
