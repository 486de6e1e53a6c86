"""The rlimits of a run: set on the sandbox's init before the tool exists, so inherited by all.

Always set, cgroups or not. Where there is no cgroup they are the only limit, and per process:
the enforcement report says so. Raises OSError only.
"""

import os
import resource
from collections.abc import Mapping
from pathlib import Path

from sandbox.limits import Limits
from sandbox.outcome import LimitName

# Since 5.14 the kernel counts RLIMIT_NPROC per user namespace; before, every process of the
# daemon's own user would count, and a busy user could start nothing.
_NPROC_PER_NAMESPACE = (5, 14)
_INIT = 1
_CAP_SYS_RESOURCE = 1 << 24
# What bubblewrap itself opens at once, and some more.
_BUBBLEWRAP_FILES = 32


def counts_processes() -> bool:
    """Whether RLIMIT_NPROC bounds one sandbox on this kernel."""
    major, minor = os.uname().release.split(".")[:2]
    digits = "".join(c for c in minor if c.isdigit())
    return (int(major), int(digits or 0)) >= _NPROC_PER_NAMESPACE


def rlimits(limits: Limits, elsewhere: frozenset[LimitName]) -> Mapping[int, tuple[int, int]]:
    """The soft and hard values, by resource; `elsewhere` has what a group enforces better."""
    cpu = -int(-limits.cpu_seconds // 1)
    out = {
        resource.RLIMIT_CORE: (0, 0),
        resource.RLIMIT_CPU: (cpu, cpu + 1),
        resource.RLIMIT_FSIZE: (limits.file_size_bytes, limits.file_size_bytes),
        resource.RLIMIT_NOFILE: (limits.open_files, limits.open_files),
        resource.RLIMIT_MEMLOCK: (65536, 65536),
        resource.RLIMIT_NICE: (0, 0),
        resource.RLIMIT_RTPRIO: (0, 0),
    }
    if LimitName.PIDS not in elsewhere and counts_processes():
        out[resource.RLIMIT_NPROC] = (limits.pids + _INIT, limits.pids + _INIT)
    if LimitName.MEMORY not in elsewhere:
        out[resource.RLIMIT_AS] = (limits.memory_bytes, limits.memory_bytes)
    return clip(out)


def in_shell(limits: Limits, elsewhere: frozenset[LimitName]) -> tuple[str, ...] | None:
    """The same as commands for the shell that execs bubblewrap; None where that will not do.

    For root without CAP_SYS_RESOURCE (in many containers), which may not set the limits of another
    user's process: the shell sets its own, and all that follows has them. Bubblewrap then has them
    too, so not where it could not live with them.
    """
    if os.geteuid() != 0 or _may_set_others():
        return None
    if LimitName.PIDS not in elsewhere or limits.open_files < _BUBBLEWRAP_FILES:
        return None  # RLIMIT_NPROC would count every process of that user, in all sandboxes
    steps = []
    for name, (soft, hard) in rlimits(limits, elsewhere).items():
        if resource.getrlimit(name) == (soft, hard):
            continue
        option, unit = _IN_SHELL.get(name, ("", 1))
        if not option or soft % unit or hard % unit:
            return None
        steps += [f"ulimit -S{option} {soft // unit}", f"ulimit -H{option} {hard // unit}"]
    return tuple(steps)


def _may_set_others() -> bool:
    """Whether this process has CAP_SYS_RESOURCE."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) & _CAP_SYS_RESOURCE)
    return False


def clip(wanted: Mapping[int, tuple[int, int]]) -> dict[int, tuple[int, int]]:
    """Never above what the daemon has, and so its children: only privilege could raise that."""
    out = {}
    for name, (soft, hard) in wanted.items():
        ceiling = resource.getrlimit(name)[1]
        if ceiling != resource.RLIM_INFINITY:
            soft, hard = min(soft, ceiling), min(hard, ceiling)
        out[name] = (soft, hard)
    return out


def apply(pid: int, wanted: Mapping[int, tuple[int, int]]) -> None:
    """Set them on `pid`. Raises PermissionError where `helper` can do it instead."""
    for name, pair in wanted.items():
        resource.prlimit(pid, name, pair)


def helper(program: str, pid: int, wanted: Mapping[int, tuple[int, int]]) -> list[str]:
    """prlimit(1) with the same effect, to be run as the user of `pid`.

    Root without CAP_SYS_RESOURCE (in many containers) may not set the limits of another user's
    process; that user may.
    """
    pairs = [f"--{_OPTIONS[name]}={soft}:{hard}" for name, (soft, hard) in wanted.items()]
    return [program, "--pid", str(pid), *pairs]


_OPTIONS = {
    resource.RLIMIT_CORE: "core",
    resource.RLIMIT_CPU: "cpu",
    resource.RLIMIT_FSIZE: "fsize",
    resource.RLIMIT_NOFILE: "nofile",
    resource.RLIMIT_MEMLOCK: "memlock",
    resource.RLIMIT_NICE: "nice",
    resource.RLIMIT_RTPRIO: "rtprio",
    resource.RLIMIT_NPROC: "nproc",
    resource.RLIMIT_AS: "as",
}

# dash's letters and units (512-byte blocks, kibibytes); it has none for RLIMIT_NICE.
_IN_SHELL = {
    resource.RLIMIT_CORE: ("c", 512),
    resource.RLIMIT_CPU: ("t", 1),
    resource.RLIMIT_FSIZE: ("f", 512),
    resource.RLIMIT_NOFILE: ("n", 1),
    resource.RLIMIT_MEMLOCK: ("l", 1024),
    resource.RLIMIT_RTPRIO: ("r", 1),
    resource.RLIMIT_AS: ("v", 1024),
}
