"""The enforcement report of the process tier: by what each control was achieved here.

Pure, but for one look at whether the host has swap. An empty `achieved` means nothing enforces it
on this host, and that is said, not hidden.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from sandbox import controls
from sandbox.cgroup import RunGroup
from sandbox.outcome import Control, LimitName
from sandbox.rlimits import counts_processes
from sandbox.settings import ProcessSettings
from sandbox.spec import RunSpec

_NAMESPACES = "user, ipc, pid, net, uts, cgroup, mount"
_SWAPS = Path("/proc/swaps")


def report(
    spec: RunSpec, settings: ProcessSettings, group: RunGroup, cgroups: str
) -> Mapping[str, Control]:
    """Every control of one run."""
    return {
        **controls.isolation(_isolation(settings)),
        **controls.limits(
            spec,
            {
                **_limits(group, cgroups),
                "weight": controls.weight(cgroups, group.weight, settings.give_way_seconds),
            },
        ),
    }


def started(found: Mapping[str, Control], *, ahead: bool, counted: bool) -> Mapping[str, Control]:
    """The report of a run that was started: for it, or ahead of it; and whether files counted."""
    files = found["tmp_files"]
    return {
        **found,
        "tmp_files": files if counted else Control(files.requested, ""),
        "sandbox": controls.started(ahead=ahead),
    }


def _isolation(settings: ProcessSettings) -> dict[str, str]:
    host = settings.root_becomes if os.geteuid() == 0 else os.geteuid()
    return {
        "namespaces": f"bubblewrap: {_NAMESPACES}",
        "network": "a new network namespace, loopback only",
        "root": "a tmpfs remounted read-only, /usr bound read-only",
        "mounts": "bound by descriptor, compared after the mount",
        "proc": "procfs of the new pid namespace, its init hidden; settings are root's",
        "devices": "these five bound, nothing else in /dev but /dev/shm",
        "user": f"{settings.inside_uid} inside, {host} on the host{_groups()}",
        "capabilities": "all dropped, bounding set included",
        "no_new_privileges": "prctl by bubblewrap",
        "seccomp": "a libseccomp filter, loaded last before the tool",
        "foreign_abis": "killed: the filter looks at the architecture first, then for x32",
        "kernel_surface": "EPERM by the filter, ENOSYS for clone3, openat2",
        "terminal_input": "EPERM by the filter, compared in the lower 32 bits",
        "terminal": "a new session, no terminal device",
        "descriptors": "all others close-on-exec or closed",
        "environment": "cleared, then set variable by variable",
        "hostname": "the new uts namespace's",
        "core_dumps": "RLIMIT_CORE",
        "kill_tree": "the pid namespace dies with its init, its init with us",
    }


def _groups() -> str:
    """Those that a user who is not root keeps, for good, in a user namespace."""
    kept = [] if os.geteuid() == 0 else sorted(set(os.getgroups()) - {os.getegid()})
    return f", and of the daemon's groups {', '.join(map(str, kept))}" if kept else ""


def _limits(group: RunGroup, cgroups: str) -> dict[str, str]:
    by = group.enforces
    processes = "RLIMIT_NPROC of the user namespace; a hit is not reported"
    return {
        "wall": "the daemon's clock",
        "cpu": f"{cgroups}: whole tree, polled; RLIMIT_CPU per process"
        if LimitName.CPU in by
        else "/proc of the tree, polled; RLIMIT_CPU per process",
        "memory": (
            f"{cgroups}: whole tree, tmpfs and the kernel's own included"
            if LimitName.MEMORY in by
            else "RLIMIT_AS per process; /proc of the tree, polled"
        )
        + ("" if group.bounds_sockets else controls.BUT_SOCKETS),
        "swap": _swap(group, cgroups),
        "pids": cgroups if LimitName.PIDS in by else (processes if counts_processes() else ""),
        "output": "counted by the daemon",
        "file_size": "RLIMIT_FSIZE",
        "open_files": "RLIMIT_NOFILE, per process",
        "tmp": "size of the tmpfs on /tmp, and on /dev/shm",
        "tmp_files": "counted from outside, polled",
    }


def _swap(group: RunGroup, cgroups: str) -> str:
    if group.bounds_swap:
        return f"{cgroups}: counted with memory, or none"
    if LimitName.MEMORY not in group.enforces:
        return "RLIMIT_AS counts what is swapped out too"
    try:
        has_swap = len(_SWAPS.read_text().splitlines()) > 1
    except OSError:
        return ""
    return "" if has_swap else "this host has none"
