"""The enforcement report: what was requested of a run, and by what it was achieved here.

Pure. An empty `achieved` means nothing enforces it on this host, and that is said, not hidden.
"""

import os
from collections.abc import Mapping

from sandbox.cgroup import RunGroup
from sandbox.outcome import Control, LimitName
from sandbox.rlimits import counts_processes
from sandbox.settings import ProcessSettings
from sandbox.spec import RunSpec

_NAMESPACES = "user, ipc, pid, net, uts, cgroup, mount"


def report(
    spec: RunSpec, settings: ProcessSettings, group: RunGroup, cgroups: str
) -> Mapping[str, Control]:
    """Every control of one run."""
    return {**_isolation(settings), **_limits(spec, group, cgroups)}


def started(controls: Mapping[str, Control], *, ahead: bool) -> Mapping[str, Control]:
    """The report of a run that was started: for it, or ahead of it."""
    how = "started ahead, used once" if ahead else "started for this run"
    return {**controls, "sandbox": Control("used by no other run", how)}


def _isolation(settings: ProcessSettings) -> dict[str, Control]:
    host = settings.root_becomes if os.geteuid() == 0 else os.geteuid()
    return {
        "namespaces": Control(_NAMESPACES, f"bubblewrap: {_NAMESPACES}"),
        "network": Control("none", "a new network namespace, loopback only"),
        "root": Control("read-only", "a tmpfs remounted read-only, /usr bound read-only"),
        "user": Control("not root", f"{settings.inside_uid} inside, {host} on the host"),
        "capabilities": Control("none", "all dropped, bounding set included"),
        "no_new_privileges": Control("on", "prctl by bubblewrap"),
        "seccomp": Control("on", "libseccomp filter, other architectures killed"),
        "terminal": Control("none", "a new session, no terminal device"),
        "descriptors": Control("0, 1, 2", "all others close-on-exec or closed"),
        "kill_tree": Control("on", "the pid namespace dies with its init, its init with us"),
    }


def _limits(spec: RunSpec, group: RunGroup, cgroups: str) -> dict[str, Control]:
    wanted, by = spec.limits, group.enforces
    pids = "RLIMIT_NPROC of the user namespace; a hit is not reported"
    return {
        "wall": Control(f"{wanted.wall_seconds:g} s", "the daemon's clock"),
        "cpu": Control(
            f"{wanted.cpu_seconds:g} s",
            f"{cgroups}: whole tree, polled; RLIMIT_CPU per process"
            if LimitName.CPU in by
            else "/proc of the tree, polled; RLIMIT_CPU per process",
        ),
        "memory": Control(
            f"{wanted.memory_bytes} bytes",
            f"{cgroups}: whole tree, swap included"
            if LimitName.MEMORY in by
            else "RLIMIT_AS per process; /proc of the tree, polled",
        ),
        "pids": Control(
            str(wanted.pids),
            f"{cgroups}" if LimitName.PIDS in by else (pids if counts_processes() else ""),
        ),
        "output": Control(f"{wanted.output_bytes} bytes", "counted by the daemon"),
        "file_size": Control(f"{wanted.file_size_bytes} bytes", "RLIMIT_FSIZE"),
        "open_files": Control(str(wanted.open_files), "RLIMIT_NOFILE, per process"),
        "tmp": Control(f"{wanted.tmp_bytes} bytes", "size of the tmpfs on /tmp, and on /dev/shm"),
    }
