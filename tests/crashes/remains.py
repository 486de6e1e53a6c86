"""What a daemon that died may have left on its host, looked for from outside."""

import os
from collections.abc import Iterator
from pathlib import Path

from sandbox.cgroup import find_named
from sandbox.cgroup_hosts import hierarchies
from tests.host import of_each_process
from tests.running import RunningDaemon


def remains(
    daemon: RunningDaemon,
    chain: str,
    mark: str,
    known: frozenset[str],
    among: frozenset[str] | None = None,
) -> list[str]:
    """Processes, mounts, control groups and files of runs, as text for the failure.

    Only files `among` those that were there before, where the daemon has made others by now.
    """
    new = files(daemon) - known
    return [
        *_processes(daemon, chain, mark),
        *_mounts(daemon),
        *_groups(chain),
        *(f"file {name}" for name in (new if among is None else new & among)),
    ]


def files(daemon: RunningDaemon) -> frozenset[str]:
    """Names below the data directory and the directory for temporary files."""
    found = set()
    for root in (daemon.home.data, Path(daemon.environment["TMPDIR"])):
        # What vanishes meanwhile is not there.
        for folder, folders, names in os.walk(root):
            found |= {f"{folder}/{name}" for name in (*folders, *names)}
    # The log of the database comes and goes; the endpoint is there while it serves.
    return frozenset(name for name in found if not name.endswith(("-wal", "-shm", "daemon.json")))


def _processes(daemon: RunningDaemon, chain: str, mark: str) -> Iterator[str]:
    """Tools of the load, by their mark, and sandboxes, by the daemon's name in their arguments."""
    for pid, line in of_each_process("cmdline").items():
        words = line.decode(errors="replace").split("\0")
        tool = words[0].endswith("sleep") and words[1:2] != [""] and words[1].endswith(mark)
        if pid != daemon.pid and (tool or any(chain in word for word in words)):
            yield f"process {pid}: {' '.join(words)[:200]}"


def _mounts(daemon: RunningDaemon) -> Iterator[str]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        if str(daemon.root) in line:
            yield f"mount {line}"


def _groups(chain: str) -> Iterator[str]:
    for hierarchy in hierarchies():
        for path in find_named(hierarchy.root, f"stockade-{chain}"):
            yield f"control group {path}"
