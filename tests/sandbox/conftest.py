"""A real bubblewrap, a spec factory, a collecting sink, and one C program that makes the calls."""

import itertools
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from sandbox import (
    ContainerSandbox,
    ContainerSettings,
    Limits,
    Outcome,
    ProcessSandbox,
    ProcessSettings,
    RunSpec,
    Sandbox,
)
from sandbox.docker_engine import INSTANCE_LABEL, DockerEngine
from sandbox.tier import ProbeReport, Stream
from tests.host import missing, of_each_process

MIB = 2**20
LIMITS = Limits(
    wall_seconds=60,
    cpu_seconds=5,
    memory_bytes=256 * MIB,
    pids=64,
    output_bytes=MIB,
    file_size_bytes=MIB,
    open_files=64,
    tmp_bytes=4 * MIB,
)
_numbers = itertools.count()
AnySettings = ProcessSettings | ContainerSettings


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def limits(**changes: Any) -> Limits:
    return replace(LIMITS, **changes)


def make_spec(*argv: str, **changes: Any) -> RunSpec:
    """A spec that runs `argv` in /tmp with nothing granted."""
    values: dict[str, Any] = {
        "env": {"PWD": changes.get("cwd", "/tmp"), "PATH": "/usr/bin:/bin"},
        "stdin": b"",
        "cwd": "/tmp",
        "hostname": "box",
        "mounts": (),
        "secret_env": {},
        "secret_files": {},
        "limits": LIMITS,
        "run_id": f"run-{os.getpid()}-{next(_numbers)}",
    }
    return RunSpec(argv=argv, **{**values, **changes})


def shell(script: str, **changes: Any) -> RunSpec:
    return make_spec("/bin/sh", "-c", script, **changes)


def python(script: str, **changes: Any) -> RunSpec:
    return make_spec("/usr/bin/python3", "-I", "-S", "-c", script, **changes)


class Collected:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.out = b""
        self.err = b""

    async def __call__(self, stream: Stream, data: bytes) -> None:
        if stream == "stdout":
            self.out += data
        else:
            self.err += data

    @property
    def text(self) -> str:
        return self.out.decode().strip()


class Runner:
    """Runs a spec to its end and keeps what it wrote."""

    tier: str

    def __init__(self, sandbox: Sandbox, settings: AnySettings, *, ahead: bool = False) -> None:
        self.sandbox = sandbox
        self.settings = settings
        self.tier = sandbox.name
        self.ahead = ahead

    async def __call__(self, spec: RunSpec) -> tuple[Outcome, Collected]:
        sink = Collected()
        if not self.ahead:
            return await self.sandbox.run(spec, sink), sink
        async with anyio.create_task_group() as group:
            group.start_soon(self.sandbox.keep)
            await anyio.wait_all_tasks_blocked()
            warm = await self.sandbox.warm(spec)
            outcome = await self.sandbox.run(spec, sink)
            group.cancel_scope.cancel()
        if "sandbox" in outcome.controls:
            assert outcome.controls["sandbox"].achieved.startswith("started ahead") == warm
        return outcome, sink

    async def text(self, spec: RunSpec) -> str:
        outcome, sink = await self(spec)
        assert outcome.exit_code == 0, (outcome, sink.err)
        return sink.text

    @property
    def uid(self) -> int:
        """The user of every run, as the run sees it."""
        return self.settings.inside_uid

    @property
    def gvisor(self) -> bool:
        """Whether another kernel answers."""
        return self.tier == "gvisor"

    def processes(self) -> list[int]:
        """Host processes of this instance's sandboxes, the tools themselves included."""
        raise NotImplementedError

    def groups(self) -> list[str]:
        """What else of this instance there is on the host."""
        raise NotImplementedError

    def all_gone(self) -> bool:
        """Whether there is nothing of this instance."""
        return not self.processes() and not self.groups()


class ProcessRunner(Runner):
    """Of the process tier."""

    sandbox: ProcessSandbox
    settings: ProcessSettings

    def processes(self) -> list[int]:
        mark = f"stockade.{self.settings.instance}.".encode()
        marked = {pid for pid, argv in of_each_process("cmdline").items() if mark in argv}
        found = set(marked)
        parents = {pid: parent_of(pid) for pid in of_each_process("cmdline")}
        for pid in parents:
            seen: int | None = pid
            while seen:
                if seen in marked:
                    found.add(pid)
                    break
                seen = parents.get(seen)
        return sorted(found)

    def groups(self) -> list[str]:
        name = f"stockade-{self.settings.instance}-"
        return [here for here, _, _ in os.walk("/sys/fs/cgroup") if name in here]


class ContainerRunner(Runner):
    """Of a tier that runs on Docker Engine, whose labels say what is whose."""

    sandbox: ContainerSandbox
    settings: ContainerSettings

    docker = DockerEngine("/var/run/docker.sock")

    @property
    def labels(self) -> dict[str, str]:
        return {INSTANCE_LABEL: self.settings.instance}

    def processes(self) -> list[int]:
        ours = [one.container for one in self.docker.containers(self.labels)]
        groups = of_each_process("cgroup")
        return sorted(
            pid for pid, text in groups.items() if any(one.encode() in text for one in ours)
        )

    def groups(self) -> list[str]:
        containers = [one.container for one in self.docker.containers(self.labels)]
        return [*containers, *self.docker.volumes(self.labels)]


def wait_until(true: Callable[[], bool], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true() and time.monotonic() < end:
        time.sleep(0.05)


def open_descriptors() -> int:
    """How many descriptors this process has open, the one for counting included."""
    return len(list(Path("/proc/self/fd").iterdir()))


def user_ids(pid: int) -> list[str]:
    """The real, effective, saved and file system uid of a process, on the host."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line for line in lines if line.startswith("Uid:")).split()[1:]


def parent_of(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1])
    except OSError:
        return None


PROCESS = ("cgroups", "rlimits", "ahead", "ahead-rlimits")
CONTAINERS = ("container", "gvisor")


@pytest.fixture(params=[*PROCESS, *CONTAINERS])
def runner(request: pytest.FixtureRequest) -> Iterator[Runner]:
    """Every tier; of the process tier every way it works."""
    yield from make_runner(request.param)


@pytest.fixture(params=["cgroups", *CONTAINERS])
def run(request: pytest.FixtureRequest) -> Iterator[Runner]:
    """Every tier, as a daemon would set it up on this host."""
    yield from make_runner(request.param)


@pytest.fixture(params=CONTAINERS)
def box(request: pytest.FixtureRequest) -> Iterator[ContainerRunner]:
    """The tiers that run on Docker Engine."""
    for runner in make_runner(request.param):
        assert isinstance(runner, ContainerRunner)
        yield runner


@pytest.fixture(params=PROCESS)
def bwrap(request: pytest.FixtureRequest) -> Iterator[ProcessRunner]:
    """The process tier, every way it works."""
    yield from process_runner(request.param)


def process_runner(kind: str) -> Iterator[ProcessRunner]:
    """A runner of the process tier, as such."""
    for runner in make_runner(kind):
        assert isinstance(runner, ProcessRunner)
        yield runner


@cache
def why_not(tier: str) -> str:
    """Why a tier does not work on this machine, by its own probe; empty where it does."""

    async def probe() -> ProbeReport:
        sandbox, _ = sandbox_of(tier, "probing")
        try:
            return await sandbox.probe()
        finally:
            if isinstance(sandbox, ContainerSandbox):
                await sandbox.close()

    report = anyio.run(probe)
    return "; ".join(f"{one.primitive}: {one.reason}" for one in report.missing)


def sandbox_of(kind: str, instance: str) -> tuple[Sandbox, AnySettings]:
    if kind == "container":
        chosen = ContainerSettings(instance)
        return ContainerSandbox(chosen), chosen
    if kind == "gvisor":
        chosen = ContainerSettings(instance, gvisor=True, runtime="runsc")
        return ContainerSandbox(chosen), chosen
    # A killed process leaves its group in the kernel's own time: on a busy machine, seconds.
    settings = ProcessSettings(
        instance, use_cgroups=kind in ("cgroups", "ahead"), cleanup_seconds=30.0
    )
    return ProcessSandbox(settings), settings


def make_runner(kind: str) -> Iterator[Runner]:
    """A runner of one kind; skipped with the probe's reason where its tier does not work."""
    if kind in CONTAINERS and (reason := why_not(kind)):
        # On the machines that CI has, every tier works: there it is a failure.
        missing(f"{kind}: {reason}")
    sandbox, settings = sandbox_of(kind, secrets.token_hex(6))
    wanted = ContainerRunner if kind in CONTAINERS else ProcessRunner
    runner = wanted(sandbox, settings, ahead=kind.startswith("ahead"))
    yield runner
    if isinstance(runner, ContainerRunner):
        anyio.run(settled, runner)
        anyio.run(runner.sandbox.close)
    wait_until(runner.all_gone, 30)
    assert runner.processes() == [], "a process outlived its run"
    assert runner.groups() == [], "something of a run outlived it"
    if isinstance(runner, ContainerRunner):
        runner.docker.close()


async def settled(runner: Runner, *others: ContainerSandbox) -> None:
    """Until the engine is done with what has ended, of the runner's sandbox and of these.

    A second is the promise; Docker, on a machine with other work, takes its own time to remove.
    """
    if isinstance(runner, ContainerRunner):
        for sandbox in (runner.sandbox, *others):
            await look_again(sandbox)
        await anyio.to_thread.run_sync(wait_until, runner.all_gone, 120)


async def look_again(sandbox: ContainerSandbox) -> None:
    """As a daemon does, for what the engine has not removed in time and the tier knows of.

    What it is still held to remove, by a thread that nobody waits for any more, is not left yet.
    """
    end = time.monotonic() + 120
    starter = sandbox._starter
    while (starter.left or starter._held) and time.monotonic() < end:
        await sandbox.reap()
        await anyio.sleep(1)


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory the user of a run can reach, which pytest's own is not."""
    path = Path(tempfile.mkdtemp(prefix="stockade-test-", dir="/tmp"))
    path.chmod(0o777)
    yield path.resolve()
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def calls() -> Iterator[Path]:
    """A directory with the program `calls`, which makes the system call it is told to make."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler to make raw system calls with")
    path = Path(tempfile.mkdtemp(prefix="stockade-calls-", dir="/tmp")).resolve()
    source = Path(__file__).with_name("calls.c")
    subprocess.run([compiler, "-O1", "-o", str(path / "calls"), str(source)], check=True)
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


Calls = Callable[[str], str]
