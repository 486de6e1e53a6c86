"""The table of controls: the same for every tier, each with what is requested.

Pure. A tier says by what each is achieved; one it forgets is an error here, not a gap in a report.
"""

from collections.abc import Mapping
from types import MappingProxyType

from sandbox.outcome import Control
from sandbox.scratch import most_files
from sandbox.spec import RunSpec

ISOLATION: Mapping[str, str] = MappingProxyType(
    {
        "namespaces": "user, ipc, pid, net, uts, cgroup, mount",
        "network": "none",
        "root": "read-only",
        "mounts": "only those named, each the very thing that was checked",
        "proc": "its own processes; no kernel setting to be written",
        "devices": "none but null, zero, full, random, urandom",
        "user": "not root",
        "capabilities": "none",
        "no_new_privileges": "on",
        "seccomp": "on",
        "foreign_abis": "no system call of another architecture, or of x32",
        "kernel_surface": "no io_uring, bpf, keyrings, userfaultfd, mounts, perf, ptrace",
        "terminal_input": "no TIOCSTI, whatever the bits that the kernel ignores",
        "terminal": "none",
        "descriptors": "0, 1, 2",
        "environment": "exactly as given",
        "hostname": "as given",
        "core_dumps": "none",
        "kill_tree": "on",
    }
)
BUT_SOCKETS = "; not what its sockets hold"

LIMITS = (
    *("wall", "cpu", "memory", "swap", "pids", "output", "file_size", "open_files"),
    *("tmp", "tmp_files", "weight"),
)


def isolation(achieved: Mapping[str, str]) -> dict[str, Control]:
    """Every control that has no number, with what achieves it."""
    _check(achieved, ISOLATION)
    return {name: Control(asked, achieved[name]) for name, asked in ISOLATION.items()}


def limits(spec: RunSpec, achieved: Mapping[str, str]) -> dict[str, Control]:
    """Every limit of a run, with what enforces it."""
    _check(achieved, LIMITS)
    wanted = spec.limits
    requested = {
        "wall": f"{wanted.wall_seconds:g} s",
        "cpu": f"{wanted.cpu_seconds:g} s",
        "memory": f"{wanted.memory_bytes} bytes",
        "swap": "none besides that memory",
        "pids": str(wanted.pids),
        "output": f"{wanted.output_bytes} bytes",
        "file_size": f"{wanted.file_size_bytes} bytes",
        "open_files": str(wanted.open_files),
        "tmp": f"{wanted.tmp_bytes} bytes",
        "tmp_files": str(most_files(wanted)),
        "weight": "no more than the daemon's; once it has computed for a while, the least",
    }
    return {name: Control(requested[name], achieved[name]) for name in LIMITS}


def weight(groups: str, by: str, seconds: float) -> str:
    """By what a run gives way on a busy processor; nothing, where its group is not weighed."""
    return by and f"{groups}: {by} after {seconds:g} s of processor time"


def started(*, ahead: bool) -> Control:
    """Whether the sandbox was there before its run; and that it is nobody else's."""
    how = "started ahead, used once" if ahead else "started for this run"
    return Control("used by no other run", how)


def _check(achieved: Mapping[str, str], names: "Mapping[str, str] | tuple[str, ...]") -> None:
    if set(achieved) != set(names):
        raise ValueError(f"not of the table: {sorted(set(achieved) ^ set(names))}")
