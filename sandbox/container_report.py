"""The enforcement report of a container: by what each control was achieved here.

Pure, and key for key the report of the process tier, since both are of one table (`controls`). What
the engine or this host does not give is said by an empty `achieved`, never hidden.
"""

from collections.abc import Mapping

from sandbox import controls
from sandbox.cgroup import RunGroup
from sandbox.container_settings import ContainerSettings
from sandbox.engine_answers import Engine
from sandbox.outcome import Control, LimitName
from sandbox.spec import RunSpec

_MIB = 2**20


def report(
    spec: RunSpec,
    settings: ContainerSettings,
    engine: Engine,
    group: RunGroup,
    *,
    ahead: bool = False,
) -> Mapping[str, Control]:
    """Every control of one run."""
    return {
        **controls.isolation(_isolation(settings, engine)),
        **controls.limits(spec, _limits(spec, settings, engine, group)),
        "sandbox": controls.started(ahead=ahead),
    }


def _isolation(settings: ContainerSettings, engine: Engine) -> dict[str, str]:
    runtime, own = settings.runtime, settings.gvisor
    return {
        "namespaces": f"Docker {engine.version}, {runtime}: {_namespaces(settings, engine)}",
        "network": "a new network namespace, loopback only",
        "root": "a read-only root file system, /usr bound read-only",
        "mounts": "bound by descriptor",
        "proc": "gVisor's own" if own else "of the new pid namespace, its settings read-only",
        "devices": f"those that {runtime} makes: these, a tty, a ptmx of its own",
        "user": f"{settings.inside_uid} inside{_outside(settings)}",
        "capabilities": "all dropped, bounding set included",
        "no_new_privileges": f"prctl by {runtime}",
        "seccomp": f"our filter, by {runtime}",
        "foreign_abis": "gVisor's kernel has none" if own else "killed, by the filter",
        "kernel_surface": "gVisor's kernel has none of it, or the filter refuses it"
        if own
        else "EPERM by the filter, ENOSYS for clone3, openat2",
        "terminal_input": "EPERM by the filter, compared in the lower 32 bits",
        "terminal": "a new session, no terminal allocated",
        "descriptors": "all others close-on-exec or never there",
        "environment": "the launcher's is empty; the tool's comes with what it is to run",
        "hostname": "the new uts namespace's",
        "core_dumps": "RLIMIT_CORE",
        "kill_tree": "the container dies with its first process",
    }


def _outside(settings: ContainerSettings) -> str:
    return "; gVisor's kernel is root on the host" if settings.gvisor else " and on the host"


def _namespaces(settings: ContainerSettings, engine: Engine) -> str:
    if settings.gvisor:
        return "all of gVisor's own kernel, which alone is in the host's"
    user = "user, " if engine.user_namespaces else ""
    without = "" if user else "; no user namespace (userns-remap of the engine is off)"
    return f"{user}ipc, pid, net, uts, cgroup, mount{without}"


def _limits(
    spec: RunSpec, settings: ContainerSettings, engine: Engine, group: RunGroup
) -> dict[str, str]:
    groups = f"cgroup v{engine.cgroup_version}"
    own = f", and {settings.own_memory // _MIB} MiB for what runs it"
    return {
        "wall": "the daemon's clock",
        "cpu": f"{groups}: whole container, polled; RLIMIT_CPU per process"
        if LimitName.CPU in group.enforces
        else "RLIMIT_CPU per process",
        "memory": f"{groups}: whole container{own}{_but_sockets(settings, engine, group)}",
        "swap": f"{groups}: counted with memory" if engine.limits_swap else "",
        "pids": _pids(spec, settings, groups),
        "output": "counted by the daemon",
        "file_size": "RLIMIT_FSIZE",
        "open_files": "RLIMIT_NOFILE, per process",
        "tmp": "size of the tmpfs on /tmp, and on /dev/shm",
        "tmp_files": f"not counted; they are of the {groups}'s memory"
        if settings.gvisor
        else "nr_inodes of the tmpfs",
        "weight": controls.weight(groups, group.weight, settings.gives_way_after),
    }


def _but_sockets(settings: ContainerSettings, engine: Engine, group: RunGroup) -> str:
    if settings.gvisor or engine.cgroup_version != "1" or group.bounds_sockets:
        return ""  # gVisor's are in its own memory
    return controls.BUT_SOCKETS


def _pids(spec: RunSpec, settings: ContainerSettings, groups: str) -> str:
    if settings.gvisor:
        most = settings.most_pids(spec.limits.pids)
        return f"RLIMIT_NPROC by gVisor, a hit is not reported; {most} threads outside, {groups}"
    return groups
