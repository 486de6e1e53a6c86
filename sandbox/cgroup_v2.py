"""Version 2 groups: one directory with every controller, killed by the kernel in one write."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sandbox.cgroup import (
    OWN_TASKS,
    RunGroup,
    counter,
    find_named,
    kill_members,
    read,
    remove_directory,
    write,
)
from sandbox.cgroup_weight import v2
from sandbox.limits import Limits
from sandbox.outcome import LimitName

CONTROLLERS = ("cpu", "memory", "pids")
_MICRO = 1_000_000
_ENFORCED = frozenset({LimitName.MEMORY, LimitName.PIDS, LimitName.CPU})


@dataclass(frozen=True, slots=True)
class CgroupsV2:
    """A group whose children have our controllers."""

    parent: Path
    root: Path
    description: str = "cgroup v2"
    enforces: frozenset[LimitName] = _ENFORCED

    def create(self, name: str, limits: Limits) -> RunGroup:
        """One directory, limits set, nothing left behind on failure."""
        directory = self.parent / name
        directory.mkdir()
        try:
            set_limits(directory, limits)
        except OSError:
            remove_directory(directory)
            raise
        return GroupV2(directory)

    def leftovers(self, prefix: str) -> Iterator[Path]:
        """Across the whole hierarchy: a daemon may restart in another group."""
        return find_named(self.root, prefix)


def set_limits(directory: Path, limits: Limits) -> None:
    """Memory without swap, killed as one; and the number of tasks."""
    write(directory / "memory.max", str(limits.memory_bytes))
    if (directory / "memory.swap.max").exists():
        write(directory / "memory.swap.max", "0")
    write(directory / "memory.oom.group", "1")
    write(directory / "pids.max", str(limits.pids + OWN_TASKS))
    if (weight := v2(directory)).there:
        weight.set_light()


@dataclass(frozen=True, slots=True)
class GroupV2:
    """The group of one run."""

    directory: Path
    enforces: frozenset[LimitName] = _ENFORCED

    @property
    def bounds_swap(self) -> bool:
        """Where the kernel has swap accounting."""
        return (self.directory / "memory.swap.max").exists()

    @property
    def bounds_sockets(self) -> bool:
        """The memory controller counts them."""
        return LimitName.MEMORY in self.enforces

    @property
    def join(self) -> tuple[Path, ...]:
        """The one file."""
        return (self.directory / "cgroup.procs",)

    def cpu_seconds(self) -> float | None:
        """From the group's statistics."""
        return counter(self.directory / "cpu.stat", "usage_usec") / _MICRO

    def peak_memory(self) -> int | None:
        """Where the kernel keeps it (5.19 and later)."""
        try:
            return int(read(self.directory / "memory.peak"))
        except FileNotFoundError:
            return None

    def breached(self) -> LimitName | None:
        """An OOM kill, or a fork that was refused."""
        if counter(self.directory / "memory.events", "oom_kill"):
            return LimitName.MEMORY
        if counter(self.directory / "pids.events", "max"):
            return LimitName.PIDS
        return None

    @property
    def weight(self) -> str:
        """By the `cpu` controller."""
        return v2(self.directory).described

    def give_way(self) -> None:
        """By the `cpu` controller."""
        v2(self.directory).set_least()

    def hasten(self) -> None:
        """By the `cpu` controller."""
        v2(self.directory).set_light()

    def kill(self) -> None:
        """One write where the kernel has it (5.14 and later), else member by member."""
        try:
            write(self.directory / "cgroup.kill", "1")
        except OSError:
            with contextlib.suppress(FileNotFoundError):
                kill_members(self.directory)

    def remove(self) -> bool:
        """The directory."""
        return remove_directory(self.directory)
