"""Version 1 groups: one directory per controller, each optional.

A process enters by writing 0 to `tasks` itself: moving another process takes a lock that waits
for an RCU grace period (7 to 20 ms measured), moving oneself does not.
"""

import contextlib
from collections.abc import Iterable, Iterator, Mapping
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
from sandbox.cgroup_weight import Weight, v1
from sandbox.limits import Limits, socket_bytes
from sandbox.outcome import LimitName

_BOTH = "memory.memsw.limit_in_bytes"
# What sockets of the loopback hold is in no other account of version 1, and of the whole host's.
_SOCKETS = "memory.kmem.tcp.limit_in_bytes"
_UNBOUNDED = 2**62  # the kernel says the most that a long can hold, by pages
_NANO = 1_000_000_000
_LIMIT_OF = {"memory": LimitName.MEMORY, "pids": LimitName.PIDS, "cpuacct": LimitName.CPU}
CONTROLLERS = frozenset({*_LIMIT_OF, "cpu"})


@dataclass(frozen=True, slots=True)
class CgroupsV1:
    """The daemon's own group in each v1 controller it may write."""

    parents: Mapping[str, Path]
    roots: frozenset[Path]

    @property
    def description(self) -> str:
        """For the enforcement report."""
        return f"cgroup v1 ({', '.join(sorted(self.parents))})"

    @property
    def enforces(self) -> frozenset[LimitName]:
        """One limit per controller that may be written and holds one."""
        return _limits(self.parents)

    def create(self, name: str, limits: Limits) -> RunGroup:
        """A directory per controller, limits set, nothing left behind on failure."""
        made: dict[str, Path] = {}
        try:
            for controller, parent in self.parents.items():
                directory = parent / name
                if directory not in made.values():
                    directory.mkdir()
                made[controller] = directory
            _set_limits(made, limits)
        except OSError:
            for directory in made.values():
                remove_directory(directory)
            raise
        return GroupV1(made)

    def leftovers(self, prefix: str) -> Iterator[Path]:
        """Across the whole of each hierarchy: a daemon may restart in another group."""
        for root in self.roots:
            yield from find_named(root, prefix)


def _set_limits(made: Mapping[str, Path], limits: Limits) -> None:
    if "memory" in made:
        write(made["memory"] / "memory.limit_in_bytes", str(limits.memory_bytes))
        swap = made["memory"] / _BOTH
        if swap.exists():
            # Memory and swap together: without it the excess would go to swap.
            write(swap, str(limits.memory_bytes))
        _bound_sockets(made["memory"], limits.memory_bytes)
    if "pids" in made:
        write(made["pids"] / "pids.max", str(limits.pids + OWN_TASKS))
    if "cpu" in made:
        v1(made["cpu"]).set_light()


def bound_sockets(group: RunGroup, memory_bytes: int) -> None:
    """Of a group that another made, and that this user may write to; raises nothing."""
    if isinstance(group, GroupV1) and "memory" in group.directories:
        with contextlib.suppress(OSError):
            _bound_sockets(group.directories["memory"], memory_bytes)


def _bound_sockets(group: Path, memory_bytes: int) -> None:
    sockets = group / _SOCKETS
    if sockets.exists():
        write(sockets, str(socket_bytes(memory_bytes)))


def _limits(controllers: Iterable[str]) -> frozenset[LimitName]:
    return frozenset(_LIMIT_OF[name] for name in controllers if name in _LIMIT_OF)


@dataclass(frozen=True, slots=True)
class GroupV1:
    """The groups of one run."""

    directories: Mapping[str, Path]

    @property
    def enforces(self) -> frozenset[LimitName]:
        """One limit per controller that holds one."""
        return _limits(self.directories)

    @property
    def bounds_swap(self) -> bool:
        """Where the kernel keeps the account of both."""
        memory = self.directories.get("memory")
        return memory is not None and (memory / _BOTH).exists()

    @property
    def bounds_sockets(self) -> bool:
        """Where that account has been given a bound, which takes the right to write to it."""
        memory = self.directories.get("memory")
        with contextlib.suppress(OSError):
            return memory is not None and int(read(memory / _SOCKETS)) < _UNBOUNDED
        return False

    @property
    def join(self) -> tuple[Path, ...]:
        """The `tasks` files."""
        return tuple(directory / "tasks" for directory in self._once)

    @property
    def weight(self) -> str:
        """By the `cpu` controller."""
        return self._weight.described if self._weight else ""

    def give_way(self) -> None:
        """By the `cpu` controller."""
        if self._weight:
            self._weight.set_least()

    def hasten(self) -> None:
        """By the `cpu` controller."""
        if self._weight:
            self._weight.set_light()

    def cpu_seconds(self) -> float | None:
        """From cpuacct."""
        if "cpuacct" not in self.directories:
            return None
        return int(read(self.directories["cpuacct"] / "cpuacct.usage")) / _NANO

    def peak_memory(self) -> int | None:
        """From the memory controller."""
        if "memory" not in self.directories:
            return None
        return int(read(self.directories["memory"] / "memory.max_usage_in_bytes"))

    def breached(self) -> LimitName | None:
        """An OOM kill, or a fork that was refused."""
        memory, pids = self.directories.get("memory"), self.directories.get("pids")
        if memory is not None and counter(memory / "memory.oom_control", "oom_kill"):
            return LimitName.MEMORY
        if pids is not None and counter(pids / "pids.events", "max"):
            return LimitName.PIDS
        return None

    def kill(self) -> None:
        """Every member of every group."""
        for directory in self._once:
            kill_members(directory)

    def remove(self) -> bool:
        """All of them, or say that one is busy."""
        removed = [remove_directory(directory) for directory in self._once]
        return all(removed)

    @property
    def _once(self) -> tuple[Path, ...]:
        return tuple(dict.fromkeys(self.directories.values()))

    @property
    def _weight(self) -> Weight | None:
        return v1(self.directories["cpu"]) if "cpu" in self.directories else None
