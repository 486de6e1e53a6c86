"""Every limit, hit; and the same program under a higher one."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox import End, LimitName, Mount, Outcome, ProcessSettings, RunSpec
from tests.sandbox.conftest import MIB, Collected, Runner, limits, make_spec, python, shell

pytestmark = pytest.mark.anyio

# How long a tool goes on, so that there is time to look at it (see sandbox/conclude.py): how soon
# that happens is the machine's.
MOMENTS = (0.2, 2, 10)
_SPIN = "while True: pass"
_SPIN_TREE = "import os\nfor _ in range(3): os.fork()\nwhile True: pass"
_FORK_BOMB = "bomb() { bomb | bomb & }; bomb; sleep 1000"


async def told(runner: Runner, spec: RunSpec) -> tuple[Outcome, Collected]:
    """A run whose end was told. An engine may take a group away before we could read it.

    Then the run is an engine failure: never a success, but not named by its limit either.
    """
    for _ in range(5):
        outcome, sink = await runner(spec)
        if not (runner.gvisor and outcome.end is End.ENGINE_FAILURE):
            break
    return outcome, sink


def memory_bomb(mib: int) -> str:
    return f"b = b'x' * ({mib} << 20); print(len(b))"


async def test_wall(runner: Runner) -> None:
    """A run that takes too long is timed out, not failed and not cancelled."""
    outcome, _ = await runner(shell("sleep 1000", limits=limits(wall_seconds=0.3)))
    assert (outcome.end, outcome.limit) == (End.TIMED_OUT, LimitName.WALL)
    assert 300 <= outcome.usage.wall_ms < 60_000
    assert outcome.exit_code is None


async def test_wall_with_everything_ignored(runner: Runner) -> None:
    """A tool that ignores every signal it can is timed out all the same."""
    script = "trap '' TERM INT HUP QUIT; while :; do sleep 1; done"
    outcome, _ = await runner(shell(script, limits=limits(wall_seconds=0.3)))
    assert outcome.end is End.TIMED_OUT


async def test_cpu(runner: Runner) -> None:
    """CPU time used up ends the run, by that limit's name."""
    outcome, _ = await runner(python(_SPIN, limits=limits(cpu_seconds=0.3, wall_seconds=60)))
    assert (outcome.end, outcome.limit) == (End.KILLED_BY_LIMIT, LimitName.CPU)
    assert outcome.usage.cpu_ms is not None
    assert 300 <= outcome.usage.cpu_ms < 5000


async def test_cpu_of_the_tree(runner: Runner) -> None:
    """Eight processes share one CPU budget; RLIMIT_CPU alone would give each its own."""
    wanted = limits(cpu_seconds=1, wall_seconds=60)
    outcome, _ = await runner(python(_SPIN_TREE, limits=wanted))
    assert (outcome.end, outcome.limit) == (End.KILLED_BY_LIMIT, LimitName.CPU)
    assert outcome.usage.cpu_ms is not None
    assert outcome.usage.cpu_ms < 6000


async def test_cpu_of_the_dead(runner: Runner) -> None:
    """The CPU time of children that have ended still counts."""
    script = "while :; do /usr/bin/python3 -I -S -c 'sum(range(10**6))'; done"
    outcome, _ = await runner(shell(script, limits=limits(cpu_seconds=0.5, wall_seconds=60)))
    assert (outcome.end, outcome.limit) == (End.KILLED_BY_LIMIT, LimitName.CPU)


async def test_memory(runner: Runner) -> None:
    """More memory than allowed is not had; with twice the limit the same program works."""
    outcome, sink = await told(
        runner, python(memory_bomb(96), limits=limits(memory_bytes=64 * MIB))
    )
    if "cgroup" in outcome.controls["memory"].achieved:
        assert (outcome.end, outcome.limit) == (End.KILLED_BY_LIMIT, LimitName.MEMORY)
    else:
        assert outcome.exit_code == 1
        assert b"MemoryError" in sink.err
    outcome, _ = await runner(python(memory_bomb(96), limits=limits(memory_bytes=192 * MIB)))
    assert outcome.exit_code == 0


async def test_memory_of_the_tree(runner: Runner) -> None:
    """Children share one memory budget; RLIMIT_AS alone would give each its own."""
    script = f"import os, time\nfor _ in range(3): os.fork()\n{memory_bomb(24)}; time.sleep(20)"
    outcome, _ = await told(runner, python(script, limits=limits(memory_bytes=96 * MIB)))
    assert (outcome.end, outcome.limit) == (End.KILLED_BY_LIMIT, LimitName.MEMORY)


async def test_memory_of_tmp(run: Runner) -> None:
    """Files in /tmp count as memory: a tmpfs is no way around the limit."""
    wanted = limits(memory_bytes=32 * MIB, tmp_bytes=256 * MIB, file_size_bytes=256 * MIB)
    spec = shell("dd if=/dev/zero of=/tmp/x bs=1M count=64 2>/dev/null", limits=wanted)
    outcome, _ = await run(spec)
    if "cgroup" not in outcome.controls["memory"].achieved:
        pytest.skip("no memory cgroup on this host")
    assert (outcome.end, outcome.limit) == (End.KILLED_BY_LIMIT, LimitName.MEMORY)


async def test_fork_bomb(runner: Runner) -> None:
    """A fork bomb stays inside its limit and dies whole."""
    before, _ = await runner(shell(":"))
    told = "cgroup" in before.controls["pids"].achieved and not runner.gvisor
    wanted = limits(pids=24, wall_seconds=60 if told else 2)
    outcome, _ = await runner(shell(_FORK_BOMB, limits=wanted))
    assert told == ("not reported" not in outcome.controls["pids"].achieved)
    if told:
        assert (outcome.end, outcome.limit) == (End.KILLED_BY_LIMIT, LimitName.PIDS)
    else:  # by the clock, or its own shell could start nothing more
        assert outcome.end in (End.TIMED_OUT, End.EXITED)


async def test_pids_exact(runner: Runner) -> None:
    """As many processes as asked for, and never one more.

    Fewer, once in a while: what built the sandbox is counted until somebody has reaped it.
    """
    script = """
import os, time
made = 1
try:
    while made < 100:
        if os.fork() == 0: time.sleep(20)
        made += 1
except OSError: pass
print(made, flush=True)
"""
    made: list[int] = []
    while 12 not in made and len(made) < 5:
        _, sink = await runner(python(script, limits=limits(pids=12)))
        made.append(int(sink.text))
    assert max(made) == 12


async def test_pids_of_two_runs(runner: Runner) -> None:
    """One run's processes do not use up another's limit."""
    import anyio

    ends = []

    async def one() -> None:
        script = "for i in 1 2 3 4 5 6; do sleep 0.3 & done; wait"
        ends.append((await runner(shell(script, limits=limits(pids=8))))[0].end)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(one)
    assert ends == [End.EXITED] * 3


async def test_file_size(runner: Runner) -> None:
    """A file cannot grow beyond its limit; the signal for it names the limit."""
    script = "dd if=/dev/zero of=/tmp/x bs=1000 count=200 2>/dev/null; echo"
    outcome, _ = await runner(shell(f"exec {script}", limits=limits(file_size_bytes=100_000)))
    assert (outcome.end, outcome.limit) == (End.KILLED_BY_LIMIT, LimitName.FILE_SIZE)
    outcome, _ = await runner(shell(f"exec {script}", limits=limits(file_size_bytes=200_000)))
    assert outcome.exit_code == 0


async def test_small_file_size(runner: Runner) -> None:
    """The smallest limit that is accepted does not break building the sandbox."""
    outcome, _ = await runner(shell("true", limits=limits(file_size_bytes=4096)))
    assert outcome.exit_code == 0


async def test_tmp_size(runner: Runner) -> None:
    """/tmp and /dev/shm are full when they are full."""
    wanted = limits(tmp_bytes=2 * MIB, file_size_bytes=64 * MIB)
    script = (
        "for d in /tmp /dev/shm; do dd if=/dev/zero of=$d/x bs=1M count=4; stat -c %s $d/x; done"
    )
    _, sink = await runner(shell(script, limits=wanted))
    assert sink.text.split() == [str(2 * MIB)] * 2


@pytest.mark.parametrize("place", ["/tmp", "/dev/shm"])
async def test_disk_full(runner: Runner, place: str) -> None:
    """A tool that fails with its scratch full has met that limit; it did not merely fail."""
    wanted = limits(tmp_bytes=2 * MIB, file_size_bytes=64 * MIB)
    for moment in MOMENTS:
        script = f"head -c {4 * MIB} /dev/zero >{place}/x || (sleep {moment}; exit 1)"
        outcome, _ = await runner(shell(script, limits=wanted))
        if outcome.limit is not None:
            break
    assert (outcome.end, outcome.limit, outcome.exit_code) == (
        End.KILLED_BY_LIMIT, LimitName.DISK, None,
    )  # fmt: skip
    outcome, _ = await runner(shell(f"{script}; rm {place}/x; exit 3", limits=wanted))
    assert (outcome.end, outcome.exit_code) == (End.EXITED, 3)


async def test_disk_full_and_well(run: Runner) -> None:
    """A tool that fills its scratch and copes with that has succeeded."""
    wanted = limits(tmp_bytes=2 * MIB, file_size_bytes=64 * MIB)
    outcome, _ = await run(shell(f"head -c {4 * MIB} /dev/zero >/tmp/x; exit 0", limits=wanted))
    assert (outcome.end, outcome.exit_code) == (End.EXITED, 0)


async def test_disk_full_under_a_mapping(run: Runner) -> None:
    """To who has mapped a file, a full scratch is SIGBUS: that too is named by the limit."""
    script = """
import mmap, time
with open("/tmp/x", "wb+") as file:
    file.truncate(8 << 20)
    mapped = mmap.mmap(file.fileno(), 8 << 20)
    for page in range(0, 8 << 20, 4096):
        if page == 1 << 20: time.sleep(MOMENT)
        mapped[page] = 1
"""
    wanted = limits(tmp_bytes=2 * MIB, file_size_bytes=64 * MIB)
    for moment in MOMENTS:
        outcome, _ = await run(python(script.replace("MOMENT", str(moment)), limits=wanted))
        if outcome.limit is not None:
            break
    assert (outcome.end, outcome.limit) == (End.KILLED_BY_LIMIT, LimitName.DISK)


@pytest.mark.parametrize("place", ["/tmp", "/dev/shm"])
async def test_number_of_files(runner: Runner, place: str) -> None:
    """A scratch has one file for every 4 KiB at most: empty ones take the kernel's memory too."""
    if runner.gvisor:
        pytest.skip("gVisor counts no files; what they take is in its own memory, which is bounded")
    script = f"""
import os, time
for number in range(1500): os.close(os.open("{place}/%d" % number, os.O_CREAT | os.O_WRONLY))
time.sleep(MOMENT)
"""
    # Ended as soon as somebody looks.
    few = limits(tmp_bytes=4 * MIB)
    outcome, _ = await runner(python(script.replace("MOMENT", "50"), limits=few))
    assert (outcome.end, outcome.limit) == (End.KILLED_BY_LIMIT, LimitName.DISK)
    more = limits(tmp_bytes=8 * MIB)
    outcome, _ = await runner(python(script.replace("MOMENT", "1"), limits=more))
    assert outcome.exit_code == 0


def test_files_that_cannot_be_counted_are_said() -> None:
    """Whoever may not look into the sandbox's root knows it, and reports no count."""
    code = """
import os
from sandbox.descriptors import Descriptors
from tests.sandbox.conftest import LIMITS
from sandbox.scratch import Scratch
if os.geteuid() == 0:
    os.setuid(65534)
with Descriptors() as fds:
    scratch = Scratch(LIMITS, fds)
    print(scratch.pin(1), scratch.barred)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "True"]


async def test_open_files(runner: Runner) -> None:
    """Descriptors are limited per process, and cannot be raised again."""
    script = """
import os, resource
try:
    while True: fd = os.dup(0)
except OSError as error: print(fd, error.errno)
try: resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))
except (ValueError, OSError): print("refused")
"""
    # As few as may be asked for are enough for the sandbox itself.
    text = await runner.text(python(script, limits=limits(open_files=16)))
    assert text.split() == ["15", "24", "refused"]


async def test_rlimits_before_the_first_instruction(runner: Runner) -> None:
    """The very first process already has every limit."""
    wanted = limits(open_files=33, file_size_bytes=4096, cpu_seconds=3)
    text = await runner.text(make_spec("/bin/cat", "/proc/self/limits", limits=wanted))
    rows = {line[:25].strip(): line[25:].split()[:2] for line in text.splitlines()[1:]}
    assert rows["Max open files"] == ["33", "33"]
    assert rows["Max file size"] == ["4096", "4096"]
    assert rows["Max cpu time"] == ["3", "4"]
    assert rows["Max core file size"] == ["0", "0"]


_EARLY = r"""
#include <stdio.h>
#include <sys/resource.h>
__attribute__((constructor)) static void early(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    fprintf(stderr, "%ld\n", (long)limit.rlim_max);
}
"""


@pytest.fixture
def early(place: Path) -> Path:
    """A directory with a library that reports a limit before main."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to make a library with")
    (place / "early.c").write_text(_EARLY)
    library = str(place / "early.so")
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-o", library, str(place / "early.c")], check=True
    )
    return place


async def test_limits_before_a_preloaded_library(runner: Runner, early: Path) -> None:
    """Code in LD_PRELOAD, which runs before main, finds the limits in place as well."""
    env = {"LD_PRELOAD": "/w/early.so"}  # and so env(1) runs first, to remove PWD
    mounts = (Mount(str(early), "/w"),)
    spec = make_spec("/bin/true", env=env, mounts=mounts, limits=limits(open_files=33))
    _, sink = await runner(spec)
    assert set(sink.err.split()) == {b"33"}


async def test_least_memory(runner: Runner) -> None:
    """The smallest limit that is accepted is enough to start something."""
    outcome, _ = await runner(make_spec("/bin/true", limits=limits(memory_bytes=8 * MIB)))
    assert outcome.exit_code == 0, outcome


async def test_exit_codes(run: Runner) -> None:
    """Every exit code a tool can choose below the signals is reported as it is."""
    for code in (0, 1, 2, 125, 126, 127, 128, 255):
        outcome, _ = await run(shell(f"exit {code}"))
        assert (outcome.end, outcome.exit_code, outcome.signal) == (End.EXITED, code, None)


async def test_signals(run: Runner) -> None:
    """A tool killed by a signal is signalled; without a limit hit, no limit is named."""
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV):
        outcome, _ = await run(shell(f"kill -{number.value} $$"))
        assert (outcome.end, outcome.signal) == (End.SIGNALLED, number)
        assert (outcome.exit_code, outcome.limit) == (None, None)


async def test_usage(run: Runner) -> None:
    """What was used is measured, for the whole tree."""
    outcome, _ = await run(python("b = b'x' * (32 << 20); sum(range(5 * 10**6))"))
    assert outcome.usage.cpu_ms is not None
    assert outcome.usage.max_rss_bytes is not None
    if "cgroup" in outcome.controls["memory"].achieved:
        assert outcome.usage.max_rss_bytes > 32 * MIB
        assert outcome.usage.cpu_ms > 30


async def test_controls_are_reported(runner: Runner) -> None:
    """Every control is in the report, and each says by what it was achieved."""
    # Long enough to be looked into: until it has begun, only root may.
    for moment in MOMENTS:
        outcome, _ = await runner(make_spec("/bin/sleep", str(moment)))
        unmet = {name for name, control in outcome.controls.items() if not control.achieved}
        if unmet <= {"weight"}:
            break
    wanted = {"namespaces", "network", "seccomp", "wall", "cpu", "memory", "pids", "output", "tmp"}
    assert wanted <= set(outcome.controls)
    # Only control groups weigh a run; and where the kernel has none, that is said.
    assert unmet <= ({"weight"} if "RLIMIT_AS" in outcome.controls["memory"].achieved else set())
    if isinstance(runner.settings, ProcessSettings) and not runner.settings.use_cgroups:
        assert "RLIMIT_AS" in outcome.controls["memory"].achieved
        assert "RLIMIT_NPROC" in outcome.controls["pids"].achieved


FILL_SOCKETS = """
import socket
listener = socket.create_server(("127.0.0.1", 0))
held, taken = [], 0
for _ in range(100):
    sender = socket.create_connection(listener.getsockname())
    held += [sender, listener.accept()[0]]
    sender.setblocking(False)
    try:
        while True:
            taken += sender.send(bytes(65536))
    except BlockingIOError:
        pass
print(taken, flush=True)
"""


async def test_memory_of_sockets(run: Runner) -> None:
    """What is sent over the loopback and never read is bounded with memory, and named by it."""
    outcome, sink = await told(run, python(FILL_SOCKETS, limits=limits(open_files=256)))
    if "not what its sockets hold" in outcome.controls["memory"].achieved:
        # Who may not write to the group of a run under version 1 says so, in each receipt.
        assert os.geteuid() != 0
        assert int(sink.text) > 64 * MIB
        return
    if run.gvisor and outcome.end is End.KILLED_BY_LIMIT:
        assert outcome.limit is LimitName.MEMORY
    else:
        assert outcome.end is End.EXITED, outcome
        # gVisor's sockets are in its own memory, which is limited with the tool's.
        assert MIB <= int(sink.text) <= (256 if run.gvisor else 64) * MIB
