"""What Docker is told of a container: one step, one comment. And which runs can share its shape.

Pure. Nothing here is optional: there is no configuration that gives a weaker sandbox. Of a run's
own (argv, environment, secrets, standard input) nothing is in it, for whoever may ask Docker may
read it; that all comes over the container's standard input later.
"""

import posixpath
from dataclasses import dataclass
from typing import Any

from sandbox import foreign_root
from sandbox.cgroup_weight import LIGHT_SHARES
from sandbox.container_image import Image
from sandbox.container_mounts import Mounted, labels
from sandbox.container_settings import ContainerSettings
from sandbox.errors import SpecRefusedError
from sandbox.paths import within
from sandbox.scratch import most_files
from sandbox.seccomp_profile import profile as seccomp
from sandbox.spec import Mount, RunSpec

SCRATCH = ("/tmp", "/dev/shm")  # noqa: S108 - inside
_MIB = 2**20
_TMPFS = "rw,nosuid,nodev"
# runc's own threads have to start before the limit can be what the run asked for.
LEAST_PIDS = 32


@dataclass(frozen=True, slots=True)
class Profile:
    """All of a run that is settled when its container starts."""

    image: Image
    own_image: bool
    mounts: tuple[Mount, ...]
    hostname: str
    memory_bytes: int
    pids: int
    tmp_bytes: int
    tmp_files: int
    secret_places: tuple[str, ...]
    secret_mib: int


def can_wait(profile: Profile) -> bool:
    """Whether a container may wait with this shape.

    Not one that may write to the host: what protects a workspace is made for one run, and goes with
    it, from under whatever waits.
    """
    return not any(mount.writable for mount in profile.mounts)


def profile_of(spec: RunSpec, image: Image) -> Profile:
    """The profile of a run; `image` is what it runs on. Raises `SpecRefusedError`."""
    places = {posixpath.dirname(path) for path in spec.secret_files}
    if "/" in places:
        raise SpecRefusedError(
            "SECRET_PLACE", "a secret file lies in the root itself", "put it into a directory"
        )
    size = sum(memoryview(content).nbytes for content in spec.secret_files.values())
    return Profile(
        image=image,
        own_image=bool(spec.image),
        mounts=spec.mounts,
        hostname=spec.hostname,
        memory_bytes=spec.limits.memory_bytes,
        pids=spec.limits.pids,
        tmp_bytes=spec.limits.tmp_bytes,
        tmp_files=most_files(spec.limits),
        secret_places=tuple(sorted(place for place in places if not _in_scratch(place))),
        secret_mib=size // _MIB + 1 if places else 0,
    )


def _in_scratch(place: str) -> bool:
    return any(within(place, scratch) for scratch in SCRATCH)


def config(
    profile: Profile,
    settings: ContainerSettings,
    command: tuple[str, ...],
    mounted: Mounted,
) -> dict[str, Any]:
    """The body of `POST /containers/create`."""
    user = f"{settings.inside_uid}:{settings.inside_uid}"
    return {
        "Image": profile.image.id,
        "Entrypoint": [],
        "Cmd": list(command),
        # Neither inside nor on the host is it root.
        "User": user,
        "Hostname": profile.hostname,
        # Three pipes, no terminal; closed when ours is.
        **dict.fromkeys(("OpenStdin", "StdinOnce"), True),
        **dict.fromkeys(("AttachStdin", "AttachStdout", "AttachStderr"), True),
        "Tty": False,
        # A stopping engine waits for nobody: the launcher is deaf to anything less.
        "StopSignal": "SIGKILL",
        # Of the launcher; the tool's is in its request, and is exactly that.
        "Env": _environment(profile),
        "WorkingDir": "/",
        "NetworkDisabled": True,
        # What an image may ask for besides its files does not happen.
        "Healthcheck": {"Test": ["NONE"]},
        "Labels": labels(settings),
        "HostConfig": {
            **_isolation(settings),
            **_bounds(profile, settings),
            "Tmpfs": {**_scratch(profile, settings), **mounted.tmpfs},
            "Mounts": mounted.entries,
        },
    }


def _environment(profile: Profile) -> list[str]:
    own = foreign_root.ENVIRONMENT if profile.own_image else {}
    # A name without a value is Docker's way to leave out what the image would set.
    unset = [name for name in profile.image.variables if name not in own]
    return [*(f"{name}={value}" for name, value in own.items()), *unset]


def _isolation(settings: ContainerSettings) -> dict[str, Any]:
    return {
        "Runtime": settings.runtime,
        # Loopback only.
        "NetworkMode": "none",
        # Docker would copy the host's resolver settings in.
        "Dns": ["127.0.0.1"],
        "DnsSearch": ["."],
        # No queue, shared memory or semaphore of anybody else's; /dev/shm is a scratch of ours.
        "IpcMode": "none",
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
        # Less than the usual 1024, which the daemon has.
        "CpuShares": LIGHT_SHARES,
        "PidsLimit": max(LEAST_PIDS, settings.most_pids(profile.pids)),
        "Ulimits": [{"Name": "core", "Soft": 0, "Hard": 0}],
    }


def _scratch(profile: Profile, settings: ContainerSettings) -> dict[str, str]:
    """The only places a run may write besides its mounts: bounded, in memory, gone with it."""
    own = f"uid={settings.inside_uid},gid={settings.inside_uid},mode=700,size={profile.secret_mib}m"
    scratch = f"{_TMPFS},exec,size={profile.tmp_bytes},mode=1777,nr_inodes={profile.tmp_files}"
    return {
        **dict.fromkeys(SCRATCH, scratch),
        **dict.fromkeys(profile.secret_places, f"{_TMPFS},noexec,{own}"),
    }
