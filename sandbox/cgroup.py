"""Control groups behind one interface: version 1, version 2, or none.

Trusted to put a run into groups of its own below the daemon's own group, so that whatever bounds
the daemon also bounds its runs, and to remove them. Refuses to touch a group it did not name. A
host without a writable group is not an error here: `find` then gives `NoCgroups`, which enforces
nothing and says so. Raises OSError only.
"""

import contextlib
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from sandbox.limits import Limits
from sandbox.outcome import LimitName

# bubblewrap's monitor and the sandbox's init are tasks of the group too.
OWN_TASKS = 2
_DEPTH = 12
_AT_ONCE = 128  # descriptors of processes


class RunGroup(Protocol):
    """The groups of one run."""

    @property
    def enforces(self) -> frozenset[LimitName]:
        """The limits these groups hold."""
        ...

    @property
    def bounds_swap(self) -> bool:
        """Whether what is swapped out counts as memory, or nothing can be."""
        ...

    @property
    def bounds_sockets(self) -> bool:
        """Whether what sockets hold, sent and not yet read, is bounded with memory."""
        ...

    @property
    def join(self) -> tuple[Path, ...]:
        """Files into which a process writes 0 to enter."""
        ...

    def cpu_seconds(self) -> float | None:
        """CPU time of the whole tree so far, dead processes included."""
        ...

    def peak_memory(self) -> int | None:
        """The most memory the tree held at once, page cache and tmpfs included."""
        ...

    def breached(self) -> LimitName | None:
        """The limit the kernel has reported as hit, if any."""
        ...

    @property
    def weight(self) -> str:
        """How its share of a busy processor is weighed; empty where it is not."""
        ...

    def give_way(self) -> None:
        """From now on, compute when nobody else has to."""
        ...

    def hasten(self) -> None:
        """Have the weight it began with: what is to end has to come to its end."""
        ...

    def kill(self) -> None:
        """Kill everything in the groups."""
        ...

    def remove(self) -> bool:
        """Remove the groups; false if one is still busy."""
        ...


class Cgroups(Protocol):
    """Where groups for runs can be made on this host."""

    @property
    def description(self) -> str:
        """For the enforcement report."""
        ...

    @property
    def enforces(self) -> frozenset[LimitName]:
        """The limits that groups made here will hold."""
        ...

    def create(self, name: str, limits: Limits) -> RunGroup:
        """Make the groups of one run, limits set. Raises FileExistsError if the name is taken."""
        ...

    def leftovers(self, prefix: str) -> Iterator[Path]:
        """Directories of groups whose name begins with `prefix`, wherever they are."""
        ...


class NoGroup:
    """A run without a group."""

    enforces: frozenset[LimitName] = frozenset()
    bounds_swap = False
    bounds_sockets = False
    join: tuple[Path, ...] = ()
    weight = ""

    def give_way(self) -> None:
        """Nobody weighs it."""

    def hasten(self) -> None:
        """Nobody weighs it."""

    def cpu_seconds(self) -> float | None:
        """Not measured here."""
        return None

    def peak_memory(self) -> int | None:
        """Not measured here."""
        return None

    def breached(self) -> LimitName | None:
        """Nothing is enforced, so nothing is hit."""
        return None

    def kill(self) -> None:
        """The tree is killed through its pid namespace."""

    def remove(self) -> bool:
        """There is nothing to remove."""
        return True


@dataclass(frozen=True, slots=True)
class NoCgroups:
    """A host, or a user, without a writable group."""

    description: str = "no writable cgroup"
    enforces: frozenset[LimitName] = frozenset()

    def create(self, name: str, limits: Limits) -> RunGroup:  # noqa: ARG002 - the interface
        """No group."""
        return NoGroup()

    def leftovers(self, prefix: str) -> Iterator[Path]:  # noqa: ARG002 - the interface
        """Nothing can have been left."""
        return iter(())


def read(path: Path) -> str:
    """A control file. Read plainly: this is done several times in every run."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = []
        while part := os.read(fd, 65536):
            parts.append(part)
    finally:
        os.close(fd)
    return b"".join(parts).decode("ascii")


def write(path: Path, value: str) -> None:
    """Set a control file by a single write, never creating it."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, value.encode("ascii"))
    finally:
        os.close(fd)


def counter(path: Path, name: str) -> int:
    """The number beside `name` in a file of `name value` lines; 0 if it is not there."""
    for line in read(path).splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return 0


def kill_members(directory: Path) -> None:
    """SIGKILL every process of one group, by descriptor, so that no reused number is hit.

    A group that is gone has none. The kernel makes the list of members anew for each that reads it,
    and a bomb has made it long: it is read once for many of them.
    """
    members = list(_members(directory))
    for at in range(0, len(members), _AT_ONCE):
        _kill(directory, members[at : at + _AT_ONCE])


def _kill(directory: Path, members: list[str]) -> None:
    held: dict[str, int] = {}
    try:
        for line in members:
            with contextlib.suppress(OSError):  # gone already
                held[line] = os.pidfd_open(int(line))
        # One that is listed with its descriptor in hand is a member, and is the one that is held.
        for line in held.keys() & _members(directory):
            with contextlib.suppress(OSError):  # gone between the two reads
                signal.pidfd_send_signal(held[line], signal.SIGKILL)
    finally:
        for fd in held.values():
            os.close(fd)


def _members(directory: Path) -> set[str]:
    try:
        return set(read(directory / "cgroup.procs").split())
    except OSError:
        return set()


def remove_directory(directory: Path) -> bool:
    """rmdir, where busy is an answer and absent is success."""
    try:
        directory.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True


def find_named(root: Path, prefix: str) -> Iterator[Path]:
    """Groups below `root` whose name begins with `prefix`."""
    for here, names, _ in os.walk(root):
        if len(Path(here).relative_to(root).parts) >= _DEPTH:
            names.clear()
        for name in [name for name in names if name.startswith(prefix)]:
            names.remove(name)
            yield Path(here, name)
