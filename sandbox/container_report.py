"""The enforcement report of a container: what was requested, and by what it was achieved here.

Pure, and key for key the report of the process tier (`enforcement`). What the engine or this host
does not give is said by an empty `achieved`, never hidden.
"""

from collections.abc import Mapping

from sandbox.cgroup import RunGroup
from sandbox.container_settings import ContainerSettings
from sandbox.docker_engine import Engine
from sandbox.enforcement import started
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
    found = {
        **_isolation(settings, engine),
        **_tree_limits(spec, settings, engine, group),
        **_limits(spec, settings),
    }
    return started(found, ahead=ahead)


def _isolation(settings: ContainerSettings, engine: Engine) -> dict[str, Control]:
    by = f"Docker {engine.version}, {settings.runtime}"
    return {
        "namespaces": Control(
            "user, ipc, pid, net, uts, cgroup, mount",
            f"{by}: {_namespaces(settings, engine)}",
        ),
        "network": Control("none", "a new network namespace, loopback only"),
        "root": Control("read-only", "a read-only root file system, /usr bound read-only"),
        "user": Control("not root", f"{settings.inside_uid} inside{_outside(settings)}"),
        "capabilities": Control("none", "all dropped, bounding set included"),
        "no_new_privileges": Control("on", f"prctl by {settings.runtime}"),
        "seccomp": Control("on", f"our filter, by {settings.runtime}"),
        "terminal": Control("none", "a new session, no terminal allocated"),
        "descriptors": Control("0, 1, 2", "all others close-on-exec or never there"),
        "kill_tree": Control("on", "the container dies with its first process"),
    }


def _outside(settings: ContainerSettings) -> str:
    return "; gVisor's kernel is root on the host" if settings.gvisor else " and on the host"


def _namespaces(settings: ContainerSettings, engine: Engine) -> str:
    if settings.gvisor:
        return "all of gVisor's own kernel, which alone is in the host's"
    user = "user, " if engine.user_namespaces else ""
    without = "" if user else "; no user namespace (userns-remap of the engine is off)"
    return f"{user}ipc, pid, net, uts, cgroup, mount{without}"


def _tree_limits(
    spec: RunSpec, settings: ContainerSettings, engine: Engine, group: RunGroup
) -> dict[str, Control]:
    wanted, groups = spec.limits, f"cgroup v{engine.cgroup_version}"
    own = f" and {settings.own_memory // _MIB} MiB for what runs it"
    swap = "swap included" if engine.limits_swap else "swap is not bounded by this engine"
    outside = f"; {settings.most_pids(wanted.pids)} threads outside, {groups}"
    pids = groups if engine.limits_pids else ""
    return {
        "cpu": Control(
            f"{wanted.cpu_seconds:g} s",
            f"{groups}: whole container, polled; RLIMIT_CPU per process"
            if LimitName.CPU in group.enforces
            else "RLIMIT_CPU per process",
        ),
        "memory": Control(
            f"{wanted.memory_bytes} bytes",
            f"{groups}: whole container{own}, {swap}"
            if engine.limits_memory
            else "RLIMIT_AS per process",
        ),
        "pids": Control(
            str(wanted.pids),
            f"RLIMIT_NPROC by gVisor, a hit is not reported{outside}" if settings.gvisor else pids,
        ),
    }


def _limits(spec: RunSpec, settings: ContainerSettings) -> dict[str, Control]:
    wanted = spec.limits
    return {
        "wall": Control(f"{wanted.wall_seconds:g} s", "the daemon's clock"),
        "output": Control(f"{wanted.output_bytes} bytes", "counted by the daemon"),
        "file_size": Control(f"{wanted.file_size_bytes} bytes", "RLIMIT_FSIZE"),
        "open_files": Control(str(wanted.open_files), "RLIMIT_NOFILE, per process"),
        "tmp": Control(
            f"{wanted.tmp_bytes} bytes",
            "size of the tmpfs on /tmp, and on /dev/shm"
            + (", their files not counted" if settings.gvisor else ""),
        ),
    }
