"""What Docker is told of a container: one step, one comment. And which runs can share its shape.

Pure. Nothing here is optional: there is no configuration that gives a weaker sandbox. Of a run's
own (argv, environment, secrets, standard input) nothing is in it, for whoever may ask Docker may
read it; that all comes over the container's standard input later.
"""

import posixpath
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sandbox.container_settings import ContainerSettings
from sandbox.docker_engine import INSTANCE_LABEL, TIER_LABEL
from sandbox.hostview import root_directories
from sandbox.paths import ETC_FROM_HOST, within
from sandbox.seccomp_profile import profile as seccomp
from sandbox.spec import Mount, RunSpec

_MIB = 2**20
_TMPFS = "rw,nosuid,nodev"
# runc's own threads have to start before the limit can be what the run asked for.
LEAST_PIDS = 32


@dataclass(frozen=True, slots=True)
class Profile:
    """All of a run that is settled when its container starts."""

    image: str
    mounts: tuple[Mount, ...]
    hostname: str
    memory_bytes: int
    pids: int
    tmp_bytes: int
    secret_places: tuple[str, ...]
    secret_mib: int


def profile_of(spec: RunSpec, image: str) -> Profile:
    """The profile of a run; `image` is the id of what it runs on."""
    places = {posixpath.dirname(path) for path in spec.secret_files}
    size = sum(memoryview(content).nbytes for content in spec.secret_files.values())
    return Profile(
        image=image,
        mounts=spec.mounts,
        hostname=spec.hostname,
        memory_bytes=spec.limits.memory_bytes,
        pids=spec.limits.pids,
        tmp_bytes=spec.limits.tmp_bytes,
        secret_places=tuple(sorted(place for place in places if not within(place, "/tmp"))),  # noqa: S108
        secret_mib=size // _MIB + 1 if places else 0,
    )


def config(
    profile: Profile,
    settings: ContainerSettings,
    command: tuple[str, ...],
    sources: Mapping[str, str],
) -> dict[str, Any]:
    """The body of `POST /containers/create`. `sources` has where each mount's target comes from."""
    user = f"{settings.inside_uid}:{settings.inside_uid}"
    return {
        "Image": profile.image,
        "Entrypoint": [],
        "Cmd": list(command),
        # Neither inside nor on the host is it root.
        "User": user,
        "Hostname": profile.hostname,
        # Three pipes, no terminal; closed when ours is.
        **dict.fromkeys(("OpenStdin", "StdinOnce"), True),
        **dict.fromkeys(("AttachStdin", "AttachStdout", "AttachStderr"), True),
        "Tty": False,
        # Of the launcher; the tool's is in its request, and is exactly that.
        "Env": [],
        "WorkingDir": "/",
        "NetworkDisabled": True,
        # What an image may ask for besides its files does not happen.
        "Healthcheck": {"Test": ["NONE"]},
        "Labels": {INSTANCE_LABEL: settings.instance, TIER_LABEL: settings.tier},
        "HostConfig": {
            **_isolation(settings),
            **_bounds(profile, settings),
            "Tmpfs": _scratch(profile, settings),
            "Mounts": list(_mounts(profile, sources)),
        },
    }


def _isolation(settings: ContainerSettings) -> dict[str, Any]:
    return {
        "Runtime": settings.runtime,
        # Loopback only.
        "NetworkMode": "none",
        # Docker would copy the host's resolver settings in.
        "Dns": ["127.0.0.1"],
        "DnsSearch": ["."],
        # No message queue, shared memory or semaphore of anybody else's.
        "IpcMode": "private",
        "CgroupnsMode": "private",
        "ReadonlyRootfs": True,
        # None to begin with, none to be had, no system call that could be had for one.
        "CapDrop": ["ALL"],
        "Privileged": False,
        "SecurityOpt": ["no-new-privileges", "seccomp=" + seccomp(gvisor=settings.gvisor)],
        # What the tool writes goes to the daemon alone.
        "LogConfig": {"Type": "none"},
        "Init": False,
        "AutoRemove": False,
        "RestartPolicy": {"Name": "no"},
    }


def _bounds(profile: Profile, settings: ContainerSettings) -> dict[str, Any]:
    memory = profile.memory_bytes + settings.own_memory
    return {
        # Memory and swap together: without it the excess would go to swap.
        "Memory": memory,
        "MemorySwap": memory,
        "PidsLimit": max(LEAST_PIDS, settings.most_pids(profile.pids)),
        "ShmSize": profile.tmp_bytes,
        "Ulimits": [{"Name": "core", "Soft": 0, "Hard": 0}],
    }


def _scratch(profile: Profile, settings: ContainerSettings) -> dict[str, str]:
    """The only places a run may write besides its mounts: bounded, in memory, gone with it."""
    own = f"uid={settings.inside_uid},gid={settings.inside_uid},mode=700,size={profile.secret_mib}m"
    return {
        "/tmp": f"{_TMPFS},exec,size={profile.tmp_bytes},mode=1777",  # noqa: S108
        **dict.fromkeys(profile.secret_places, f"{_TMPFS},noexec,{own}"),
    }


def _mounts(profile: Profile, sources: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    for path in _host_paths():
        yield _bind(path, path)
    for mount in sorted(profile.mounts, key=lambda mount: mount.target):
        source = sources[mount.target]
        if source.startswith("/proc/"):
            yield _by_descriptor(source, mount)
        else:
            yield _bind(source, mount.target, writable=mount.writable)


def _host_paths() -> Iterator[str]:
    yield from root_directories()
    yield from (path for path in ETC_FROM_HOST if Path(path).exists())


def _bind(source: str, target: str, *, writable: bool = False) -> dict[str, Any]:
    return {
        "Type": "bind",
        "Source": source,
        "Target": target,
        "ReadOnly": not writable,
        # Read-only is said of one file system, so others mounted below it do not come along.
        "BindOptions": {"Propagation": "rprivate", "NonRecursive": True},
    }


def _by_descriptor(source: str, mount: Mount) -> dict[str, Any]:
    """A nameless volume that is a bind mount of an open directory of ours.

    Docker mounts by name, and between looking at a name and mounting it the name may come to mean
    something else. A descriptor means what it was opened on, whatever happens to names.
    """
    options = {"type": "none", "o": "bind", "device": source}
    return {
        "Type": "volume",
        "Target": mount.target,
        "ReadOnly": not mount.writable,
        "VolumeOptions": {
            "NoCopy": True,  # the image has nothing to say here
            "DriverConfig": {"Name": "local", "Options": options},
        },
    }
