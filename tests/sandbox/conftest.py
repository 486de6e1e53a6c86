"""A real bubblewrap, a spec factory, a collecting sink, and one C program that makes the calls."""

import itertools
import os
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from sandbox import Limits, Outcome, ProcessSandbox, ProcessSettings, RunSpec
from sandbox.tier import Stream

MIB = 2**20
LIMITS = Limits(
    wall_seconds=10,
    cpu_seconds=5,
    memory_bytes=256 * MIB,
    pids=64,
    output_bytes=MIB,
    file_size_bytes=MIB,
    open_files=64,
    tmp_bytes=4 * MIB,
)
_numbers = itertools.count()


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

    def __init__(
        self, sandbox: ProcessSandbox, settings: ProcessSettings, *, ahead: bool = False
    ) -> None:
        self.sandbox = sandbox
        self.settings = settings
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

    def processes(self) -> list[int]:
        """Host processes of this instance's sandboxes, the tools themselves included."""
        mark = f"stockade.{self.settings.instance}.".encode()
        marked = {pid for pid, argv in command_lines().items() if mark in argv}
        found = set(marked)
        parents = {pid: parent_of(pid) for pid in command_lines()}
        for pid in parents:
            seen: int | None = pid
            while seen:
                if seen in marked:
                    found.add(pid)
                    break
                seen = parents.get(seen)
        return sorted(found)

    def groups(self) -> list[Path]:
        """Control groups of this instance."""
        name = f"stockade-{self.settings.instance}-"
        return [Path(here) for here, _, _ in os.walk("/sys/fs/cgroup") if name in here]


def open_descriptors() -> int:
    """How many descriptors this process has open, the one for counting included."""
    return len(list(Path("/proc/self/fd").iterdir()))


def user_ids(pid: int) -> list[str]:
    """The real, effective, saved and file system uid of a process, on the host."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(line for line in lines if line.startswith("Uid:")).split()[1:]


def command_lines() -> dict[int, bytes]:
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found[int(path.parent.name)] = path.read_bytes()
        except OSError:
            continue
    return found


def parent_of(pid: int) -> int | None:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[1])
    except OSError:
        return None


@pytest.fixture(params=["cgroups", "rlimits", "ahead", "ahead-rlimits"])
def runner(request: pytest.FixtureRequest) -> Iterator[Runner]:
    """With whatever control groups this host gives and without any; cold and started ahead."""
    use_cgroups = request.param in ("cgroups", "ahead")
    yield from _runner(use_cgroups=use_cgroups, ahead=request.param.startswith("ahead"))


@pytest.fixture
def run() -> Iterator[Runner]:
    """As a daemon would be set up on this host."""
    yield from _runner(use_cgroups=True)


def _runner(*, use_cgroups: bool, ahead: bool = False) -> Iterator[Runner]:
    settings = ProcessSettings(secrets.token_hex(6), use_cgroups=use_cgroups)
    runner = Runner(ProcessSandbox(settings), settings, ahead=ahead)
    yield runner
    assert runner.processes() == [], "a process outlived its run"
    assert runner.groups() == [], "a control group outlived its run"


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
