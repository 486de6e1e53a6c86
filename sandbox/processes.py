"""What /proc says about the processes of a sandbox, seen from outside.

Read-only. A process may vanish between two reads: that is an empty answer, never an error.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def stat_fields(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the name, which may itself contain spaces."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace")
    except OSError:
        return []
    return text.rpartition(") ")[2].split()


def parent(pid: int) -> int | None:
    """The parent of `pid`."""
    fields = stat_fields(pid)
    return int(fields[1]) if fields else None


def tree(pid: int) -> Iterator[int]:
    """`pid` and everything below it."""
    pending = [pid]
    while pending:
        here = pending.pop()
        yield here
        pending.extend(_children(here))


def _children(pid: int) -> Iterator[int]:
    """Of each of its threads; none, if it has gone meanwhile."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208 - glob raises if it goes
    except OSError:
        return
    for thread in threads:
        try:
            text = Path(f"/proc/{pid}/task/{thread}/children").read_text()
        except OSError:
            continue
        yield from map(int, text.split())


def cpu_and_memory(init: int) -> tuple[float, int]:
    """CPU seconds and resident bytes of the sandbox whose init is `init`.

    Children that were waited for are in their parent's figures, and orphans in init's, so the sum
    over the living is the whole tree; what is missing is a child whose parent ignores SIGCHLD.
    """
    ticks = pages = 0
    for pid in tree(init):
        fields = stat_fields(pid)
        if fields:
            ticks += sum(int(value) for value in fields[11:15])
            pages += int(fields[21])
    return ticks / _TICK, pages * _PAGE


def proportional_memory(init: int) -> int:
    """Bytes the tree really holds, shared pages counted once; resident ones where unreadable."""
    total = 0
    for pid in tree(init):
        try:
            text = Path(f"/proc/{pid}/smaps_rollup").read_text()
        except OSError:
            fields = stat_fields(pid)
            total += int(fields[21]) * _PAGE if fields else 0
            continue
        kib = [int(line.split()[1]) for line in text.splitlines() if line[:4] == "Pss:"]
        total += sum(kib) * 1024
    return total


def with_mark(programs: Iterable[str], mark: str) -> dict[int, str]:
    """Processes running one of `programs` with an argument that begins with `mark`: pid, rest."""
    names, needle = {os.fsencode(program) for program in programs}, os.fsencode(mark)
    found = {}
    # Names from listdir, for glob looks at each again and raises if its process has gone.
    for pid in map(int, filter(str.isdigit, os.listdir("/proc"))):  # noqa: PTH208
        try:
            argv = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        for word in argv[1:]:
            if argv[0] in names and word.startswith(needle):
                found[pid] = word.removeprefix(needle).decode("ascii", "replace")
                break
    return found
