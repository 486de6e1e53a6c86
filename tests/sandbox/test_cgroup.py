"""Control groups: found, made below our own, read, killed and removed."""

import os
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from sandbox import LimitName
from sandbox.cgroup import NoCgroups, counter, find_named, kill_members, read, remove_directory
from sandbox.cgroup_hosts import find, hierarchies
from sandbox.cgroup_oom import exhaustion
from sandbox.cgroup_v1 import CgroupsV1
from sandbox.cgroup_v2 import CgroupsV2, GroupV2, set_limits
from sandbox.spawn import reap, spawn
from tests.sandbox.conftest import LIMITS, MIB


@pytest.fixture
def sleeper() -> Iterator[int]:
    """A process to be killed; its pidfd."""
    null = os.open(os.devnull, os.O_RDWR)
    child = spawn(["/bin/sleep", "1000"], (null, null, null))
    os.close(null)
    yield child.pid
    for _ in range(6000):
        if reap(child.pidfd) is not None:
            break
        time.sleep(0.01)
    else:
        os.kill(child.pid, 9)
        os.waitpid(child.pid, 0)
    os.close(child.pidfd)


def test_hierarchies_are_real() -> None:
    """Every group found is a directory that lists this very process."""
    found = list(hierarchies())
    assert found
    for hierarchy in found:
        assert str(os.getpid()) in read(hierarchy.own / "cgroup.procs").split()
        assert hierarchy.root in (hierarchy.own, *hierarchy.own.parents)


def test_groups_are_below_our_own() -> None:
    """A run's group lies below the daemon's: what bounds the daemon bounds its runs."""
    cgroups = find()
    if isinstance(cgroups, NoCgroups):
        pytest.skip("no writable cgroup for this user")
    assert isinstance(cgroups, CgroupsV1 | CgroupsV2)
    own = {hierarchy.own for hierarchy in hierarchies()}
    name = f"stockade-test-{secrets.token_hex(4)}"
    group = cgroups.create(name, LIMITS)
    try:
        for path in group.join:
            assert path.parent.name == name
            assert path.parent.parent in own
        assert set(cgroups.leftovers("stockade-test-")) >= {path.parent for path in group.join}
        assert group.breached() is None
        with pytest.raises(FileExistsError):
            cgroups.create(name, LIMITS)
    finally:
        assert group.remove()
    assert group.remove(), "removing twice is no error"


def test_v1_kill_and_remove(sleeper: int) -> None:
    """Killing a group kills its members; only then can it be removed."""
    cgroups = find()
    if not isinstance(cgroups, CgroupsV1):
        pytest.skip("no writable cgroup v1 for this user")
    group = cgroups.create(f"stockade-test-{secrets.token_hex(4)}", LIMITS)
    for path in group.join:
        path.write_text(str(sleeper))
    assert not group.remove()
    group.kill()
    wait_until(group.remove)
    assert group.enforces <= {LimitName.CPU, LimitName.MEMORY, LimitName.PIDS}


@pytest.mark.anyio
@pytest.mark.parametrize("exhausted", [True, False])
async def test_v1_exhaustion_outlives_its_group(*, exhausted: bool) -> None:
    """Somebody has removed the group: the kernel has told whether its memory ran out."""
    cgroups = find()
    if not isinstance(cgroups, CgroupsV1) or "memory" not in cgroups.parents:
        pytest.skip("no writable memory group of version 1 for this user")
    limits = replace(LIMITS, memory_bytes=16 * MIB)
    group = cgroups.create(f"stockade-test-{secrets.token_hex(4)}", limits)
    told = exhaustion(group)
    assert told is not None
    code = f"x = bytearray({64 * MIB}); x[::4096] = b'x' * len(x[::4096])" if exhausted else ""
    (memory,) = (path for path in group.join if "memory" in path.parts)
    program = ["/bin/sh", "-c", f'echo 0 >{memory}; exec /usr/bin/python3 -I -S -c "$0"', code]
    ended = await anyio.run_process(program, check=False)
    assert (ended.returncode != 0) is exhausted
    wait_until(group.remove)
    assert await told.seen() is exhausted
    told.close()


def unified() -> Path:
    for hierarchy in hierarchies():
        if not hierarchy.controllers and os.access(hierarchy.own, os.W_OK):
            return hierarchy.own
    pytest.skip("no writable cgroup v2 for this user")


def test_v2_kill_and_remove(sleeper: int) -> None:
    """The same on version 2, whose kernel kills the group itself and counts its CPU."""
    directory = unified() / f"stockade-test-{secrets.token_hex(4)}"
    directory.mkdir()
    group = GroupV2(directory)
    group.join[0].write_text(str(sleeper))
    assert not group.remove()
    assert group.cpu_seconds() is not None
    group.kill()
    wait_until(group.remove)


def wait_until(condition: Callable[[], bool]) -> None:
    for _ in range(6000):
        if condition():
            return
        time.sleep(0.01)
    pytest.fail("it never came true")
    raise AssertionError("still not so after a minute")


def test_v2_files(tmp_path: Path) -> None:
    """Version 2's limits are written as the kernel documents them, without swap, killed whole."""
    for name in ("memory.max", "memory.swap.max", "memory.oom.group", "pids.max"):
        (tmp_path / name).touch()
    set_limits(tmp_path, LIMITS)
    assert read(tmp_path / "memory.max") == str(256 * MIB)
    assert read(tmp_path / "memory.swap.max") == "0"
    assert read(tmp_path / "memory.oom.group") == "1"
    assert read(tmp_path / "pids.max") == "66"


def test_v2_events(tmp_path: Path) -> None:
    """Version 2's events are read by name, whatever stands around them."""
    group = GroupV2(tmp_path)
    memory, pids = tmp_path / "memory.events", tmp_path / "pids.events"
    memory.write_text("low 0\nhigh 0\nmax 7\noom 7\noom_kill 0\noom_group_kill 0\n")
    pids.write_text("max 0\n")
    (tmp_path / "cpu.stat").write_text("usage_usec 1500000\nuser_usec 1\n")
    assert group.breached() is None
    assert group.cpu_seconds() == 1.5
    assert group.peak_memory() is None
    pids.write_text("max 3\n")
    assert group.breached() is LimitName.PIDS
    memory.write_text("max 7\noom 7\noom_kill 1\n")
    assert group.breached() is LimitName.MEMORY
    (tmp_path / "memory.peak").write_text("4096\n")
    assert group.peak_memory() == 4096


def test_nothing_left_of_a_failed_group(tmp_path: Path) -> None:
    """If a limit cannot be written there is no group, rather than one without the limit."""
    with pytest.raises(OSError, match=r"memory\.max"):
        CgroupsV2(tmp_path, tmp_path).create("run", LIMITS)
    with pytest.raises(OSError, match="memory"):
        CgroupsV1({"memory": tmp_path}, frozenset()).create("run", LIMITS)
    assert list(tmp_path.iterdir()) == []


def test_no_groups() -> None:
    """A host without groups enforces nothing through them, and says so."""
    none = NoCgroups()
    group = none.create("x", LIMITS)
    assert group.enforces == frozenset()
    assert (group.cpu_seconds(), group.peak_memory(), group.breached()) == (None, None, None)
    assert group.remove()
    assert list(none.leftovers("stockade")) == []
    assert "no writable" in none.description


def test_leftovers_by_prefix(tmp_path: Path) -> None:
    """Only names with the whole prefix are found, at any depth."""
    for name in ("a/stockade-one-1", "stockade-one-2", "stockade-ones-3", "b/c/x-stockade-one-4"):
        (tmp_path / name).mkdir(parents=True)
    found = {path.name for path in find_named(tmp_path, "stockade-one-")}
    assert found == {"stockade-one-1", "stockade-one-2"}


def test_small_readers(tmp_path: Path) -> None:
    """An absent counter is zero, an absent directory removed, an unseen member skipped."""
    (tmp_path / "events").write_text("max 1\nmaximum 5\n")
    assert counter(tmp_path / "events", "max") == 1
    assert counter(tmp_path / "events", "oom") == 0
    assert remove_directory(tmp_path / "absent")
    (tmp_path / "cgroup.procs").write_text("0\n")
    kill_members(tmp_path)
