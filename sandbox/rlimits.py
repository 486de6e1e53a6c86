"""The rlimits of a run: set on the sandbox's init before the tool exists, so inherited by all.

Always set, cgroups or not. Where there is no cgroup they are the only limit, and per process:
the enforcement report says so. Raises OSError only.
"""

import os
import resource
from collections.abc import Mapping

from sandbox.limits import Limits
from sandbox.outcome import LimitName

# Since 5.14 the kernel counts RLIMIT_NPROC per user namespace; before, every process of the
# daemon's own user would count, and a busy user could start nothing.
_NPROC_PER_NAMESPACE = (5, 14)
_INIT = 1


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
