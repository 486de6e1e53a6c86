"""Whose turn it is on a busy processor: a run weighs no more than the daemon, and less later.

Nothing here is timed: what is looked at is what the kernel was told.
"""

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from sandbox import End, LimitName, ProcessSandbox
from sandbox.cgroup import NoCgroups, read
from sandbox.cgroup_hosts import find, hierarchies
from sandbox.cgroup_v1 import CgroupsV1
from sandbox.cgroup_v2 import GroupV2, set_limits
from sandbox.cgroup_weight import IDLE, Weight
from sandbox.settings import ProcessSettings
from tests.sandbox.conftest import (
    LIMITS,
    Collected,
    ContainerRunner,
    Runner,
    limits,
    python,
    shell,
    wait_until,
)
from tests.sandbox.test_limits import MOMENTS

pytestmark = pytest.mark.anyio

LONG = limits(cpu_seconds=600, wall_seconds=600)
_SPIN = "print('began', flush=True)\nwhile True: pass"
# Each of its children is over long before it has used its allowance.
_SHORT_LIVED = (
    "import os\nprint('began', flush=True)\nwhile True:\n"
    " if os.fork() == 0:\n  sum(range(30000))\n  os._exit(0)\n os.wait()"
)
_STOPPED = (
    "import os, signal, time\nprint('began', flush=True)\n"
    "while time.process_time() < 1: pass\nos.kill(os.getpid(), signal.SIGSTOP)"
)
_WEIGHTS = ("cpu.shares", "cpu.weight")
_LITTLE = "import time\nprint('began', flush=True)\ntime.sleep(600)"


@dataclass(frozen=True)
class Group:
    """What the kernel was told of one group, by whatever version."""

    directory: Path

    def gave_way(self) -> bool:
        """Whether all others go first, or nearly all."""
        idle = self.directory / IDLE
        return (idle.exists() and read(idle).strip() == "1") or self.share <= self._least

    @property
    def share(self) -> float:
        """Of what a group has that nobody weighed."""
        shares, weight = self.directory / "cpu.shares", self.directory / "cpu.weight"
        return int(read(shares)) / 1024 if shares.exists() else int(read(weight)) / 100

    @property
    def _least(self) -> float:
        return 0.25 if (self.directory / "cpu.shares").exists() else 0.01


def groups_named(part: str) -> list[Group]:
    """The groups with a weight whose name has this in it, wherever they are."""
    found = []
    for hierarchy in hierarchies():
        if "cpu" in hierarchy.controllers or not hierarchy.controllers:
            for here, names, _ in os.walk(hierarchy.root):  # which passes over what has gone
                paths = [Path(here, name) for name in names if part in name]
                found += [
                    Group(path) for path in paths for name in _WEIGHTS if (path / name).exists()
                ]
    return found


def weighed_here() -> bool:
    """Whether this test may make groups that have a weight."""
    cgroups = find()
    return not isinstance(cgroups, CgroupsV1 | NoCgroups) or (
        isinstance(cgroups, CgroupsV1) and "cpu" in cgroups.parents
    )


def name_of(runner: Runner, run_id: str) -> str:
    if not isinstance(runner, ContainerRunner):
        return run_id
    (one,) = runner.docker.containers(runner.labels)
    return one.container


async def while_it_runs(runner: Runner, code: str, look: Callable[[str], object]) -> None:
    """Begin a run, look until that is true, and end it."""
    if not weighed_here():
        pytest.skip("no control group that has a weight can be made here")
    began = anyio.Event()

    async def sink(_stream: str, _data: bytes) -> None:
        began.set()

    spec = python(code, limits=LONG)
    async with anyio.create_task_group() as group:
        group.start_soon(runner.sandbox.run, spec, sink)
        with anyio.fail_after(60):
            await began.wait()
            name = name_of(runner, spec.run_id)
            while not look(name):  # noqa: ASYNC110 - no event tells of a file
                await anyio.sleep(0.02)
        group.cancel_scope.cancel()


@pytest.mark.parametrize("code", [_SPIN, _SHORT_LIVED, _STOPPED])
async def test_a_run_that_has_burned_its_allowance_gives_way(run: Runner, code: str) -> None:
    """By itself, by children that are each soon over, and one that stops itself after it."""

    def gave_way(name: str) -> bool:
        found = groups_named(name)
        return bool(found) and all(one.gave_way() for one in found)

    await while_it_runs(run, code, gave_way)


async def test_a_run_that_computes_little_keeps_its_weight(run: Runner) -> None:
    """However long it is there: one that sleeps is no burden. It weighs no more than the daemon."""
    looks = 0

    def kept(name: str) -> bool:
        nonlocal looks
        (one,) = groups_named(name)
        assert not one.gave_way()
        assert one.share in (1, 0.5, 0.2)
        looks += 1
        return looks > 10

    await while_it_runs(run, _LITTLE, kept)


@pytest.mark.parametrize("run", ["cgroups"], indirect=True)
async def test_what_is_ended_comes_to_its_end(run: Runner) -> None:
    """A bomb that gave way is killed by its limit all the same, and nothing of it is left."""
    outcome, _ = await run(python(_SPIN, limits=limits(cpu_seconds=0.4, wall_seconds=600)))
    assert (outcome.end, outcome.limit) == (End.KILLED_BY_LIMIT, LimitName.CPU)
    assert run.groups() == []


async def test_the_report_says_by_what(run: Runner) -> None:
    """Requested and achieved: the file that holds it, and when; nothing where there is none."""
    outcome, _ = await run(shell("true"))
    control = outcome.controls["weight"]
    assert "no more than the daemon" in control.requested
    if weighed_here():
        assert "cgroup v" in control.achieved
        assert "s of processor time" in control.achieved


async def test_without_groups_a_run_runs_and_says_that_nobody_weighs_it() -> None:
    """Taken away, it is a service less and no control: nothing is refused for it."""
    sandbox = ProcessSandbox(ProcessSettings(secrets.token_hex(6), use_cgroups=False))
    outcome = await sandbox.run(shell("true"), Collected())
    assert outcome.exit_code == 0
    assert outcome.controls["weight"].achieved == ""


@pytest.fixture
def made() -> CgroupsV1:
    """Groups of version 1 with a weight."""
    cgroups = find()
    if not isinstance(cgroups, CgroupsV1) or "cpu" not in cgroups.parents:
        pytest.skip("no writable cpu group of version 1 for this user")
    return cgroups


def test_v1_without_the_controller_bounds_the_rest(made: CgroupsV1) -> None:
    """Only the weight is missing where only its controller is: limits hold, the report is empty."""
    others = {name: path for name, path in made.parents.items() if name != "cpu"}
    group = CgroupsV1(others, made.roots).create(f"stockade-test-{secrets.token_hex(4)}", LIMITS)
    assert group.enforces == made.enforces
    assert group.weight == ""
    group.give_way()
    group.hasten()
    assert group.remove()


def test_v1_two_controllers_in_one_directory(made: CgroupsV1) -> None:
    """As distributions mount them (`cpu,cpuacct`): made, entered and removed once."""
    together = {"cpu": made.parents["cpu"], "cpuacct": made.parents["cpu"]}
    group = CgroupsV1(together, made.roots).create(f"stockade-test-{secrets.token_hex(4)}", LIMITS)
    assert len(group.join) == 1
    assert group.weight
    assert group.remove()


def test_a_group_that_is_gone_has_no_weight(made: CgroupsV1) -> None:
    """A bomb that ends at the moment it gives way is no fault."""
    group = made.create(f"stockade-test-{secrets.token_hex(4)}", LIMITS)
    group.give_way()
    assert group.remove()
    group.give_way()
    group.hasten()
    assert group.weight == ""


def test_v1_there_and_back(made: CgroupsV1) -> None:
    """What gave way weighs what it did once it is to end; in a group of ours it idles."""
    outer = made.parents["cpu"] / f"stockade-test-{secrets.token_hex(4)}"
    outer.mkdir()
    try:
        for parent in (made.parents["cpu"], outer):
            groups = CgroupsV1({"cpu": parent}, made.roots)
            group = groups.create(f"stockade-test-{secrets.token_hex(4)}", LIMITS)
            (seen,) = (Group(path.parent) for path in group.join)
            began = seen.share
            group.give_way()
            assert seen.gave_way()
            # In the root it would wait for all that the host does.
            in_root = (parent / "release_agent").exists()
            assert (read(seen.directory / IDLE).strip() == "1") is not in_root
            group.hasten()
            assert not seen.gave_way()
            assert seen.share == began
            assert group.remove()
    finally:
        outer.rmdir()


def test_v2_as_the_kernel_documents_it(tmp_path: Path) -> None:
    """Version 2: a fifth of the daemon's weight, then idle; where that is not, the least weight."""
    for name in ("memory.max", "memory.oom.group", "pids.max", "cpu.weight"):
        (tmp_path / name).touch()
    set_limits(tmp_path, LIMITS)
    group = GroupV2(tmp_path)
    assert read(tmp_path / "cpu.weight") == "20"
    group.give_way()
    assert read(tmp_path / "cpu.weight").startswith("1")
    assert group.weight == "cpu.weight 20, then 1"
    (tmp_path / "cpu.weight").write_text("20")
    (tmp_path / IDLE).write_text("0")
    group.give_way()
    assert read(tmp_path / IDLE) == "1"
    assert read(tmp_path / "cpu.weight") == "20"
    assert group.weight == "cpu.weight 20, then cpu.idle"
    group.hasten()
    assert read(tmp_path / IDLE) == "0"


def test_no_weight_without_its_file(tmp_path: Path) -> None:
    """A kernel that weighs no groups is told nothing, and the report is empty."""
    weight = Weight(tmp_path / "cpu.weight", "20", "1", may_idle=True)
    weight.set_light()
    weight.set_least()
    assert weight.described == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("run", ["cgroups"], indirect=True)
async def test_a_full_scratch_is_not_taken_down_by_the_event_loop(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last to let it go frees every file: another thread does, so that nobody waits for it."""
    import threading

    from sandbox.scratch import Scratch

    let_go, threads = Scratch.let_go, list[int]()

    def seen(scratch: Scratch) -> None:
        threads.append(threading.get_ident())
        let_go(scratch)

    monkeypatch.setattr(Scratch, "let_go", seen)
    code = "import os, time\nfor n in range(%d): os.close(os.open(f'/tmp/{n}', os.O_CREAT))"
    for moment in MOMENTS:
        threads.clear()
        await run.text(python(code % 900 + f"\ntime.sleep({moment})"))
        await run.text(python(f"import time; time.sleep({moment})"))
        if threads:
            break
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()
    wait_until(lambda: not run.groups(), seconds=30)
