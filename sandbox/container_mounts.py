"""What Docker is told to mount for a run, so that it mounts what was judged.

Docker takes names, and between looking at a name and mounting it the name may come to mean
something else: another run in the same workspace may see to that. So a directory is mounted by an
open descriptor; a small read-only file as a copy that only we can reach; and an empty read-only
directory inside another mount, which is how a path that must not come into being is held, as an
empty file system. Raises `SpecRefusedError` for what cannot be had so.
"""

import os
import shutil
import stat
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sandbox.container_settings import ContainerSettings
from sandbox.descriptors import Descriptors
from sandbox.docker_engine import INSTANCE_LABEL, TIER_LABEL
from sandbox.errors import SpecRefusedError
from sandbox.hostview import root_directories
from sandbox.paths import ETC_FROM_HOST, within
from sandbox.places import Identity, identity, pin
from sandbox.spec import Mount

"""Device and inode of what was mounted."""

MAX_COPY = 4 * 2**20
_EMPTY = "ro,nosuid,nodev,noexec,size=4k,mode=555"


@dataclass(slots=True)
class Mounted:
    """The mounts of one container, in Docker's words, and what has to be removed with it."""

    name: str
    entries: list[dict[str, Any]] = field(default_factory=list)
    tmpfs: dict[str, str] = field(default_factory=dict)
    volumes: list[str] = field(default_factory=list)
    places: list[Identity] = field(default_factory=list)
    copies: str = ""

    def forget(self) -> None:
        """Remove the copies."""
        if self.copies:
            shutil.rmtree(self.copies, ignore_errors=True)


def labels(settings: ContainerSettings) -> dict[str, str]:
    """What everything of this tier of this daemon is found by."""
    return {INSTANCE_LABEL: settings.instance, TIER_LABEL: settings.tier}


def places(mounts: Sequence[Mount], settings: ContainerSettings) -> list[Identity]:
    """What the names of these mounts mean now."""
    with Descriptors() as fds:
        return [identity(pin(mount.source, settings.inside_uid, fds)) for mount in mounts]


def mounted(
    mounts: Sequence[Mount],
    settings: ContainerSettings,
    name: str,
    fds: Descriptors,
    *,
    programs_at: str = "",
) -> Mounted:
    """All of them. `fds` has to stay open until the container has started; `name` is its own.

    `programs_at` is where the host's programs are shown: where they are, or below this.
    """
    found = Mounted(name)
    pinned = {mount: pin(mount.source, settings.inside_uid, fds) for mount in mounts}
    found.places = [identity(pinned[mount]) for mount in mounts]
    try:
        found.entries += _programs(found, name, settings, programs_at)
        for mount in sorted(mounts, key=lambda mount: mount.target):
            nested = _nested(mount, mounts)
            _add(found, mount, pinned[mount], nested=nested, name=name, settings=settings)
    except BaseException:
        found.forget()
        raise
    return found


def _add(
    found: Mounted, mount: Mount, pin: int, *, nested: bool, name: str, settings: ContainerSettings
) -> None:
    mode = os.fstat(pin).st_mode
    if stat.S_ISDIR(mode):
        if nested and not mount.writable and not os.listdir(f"/proc/self/fd/{pin}"):  # noqa: PTH208
            found.tmpfs[mount.target] = _EMPTY
            return
        device = f"/proc/{os.getpid()}/fd/{pin}"
        found.entries.append(
            _volume(found, device, mount.target, name, settings, writable=mount.writable)
        )
    elif stat.S_ISSOCK(mode) and nested and not settings.gvisor:
        # It stands in for what must not come into being; a dead one of our own does as well.
        found.entries.append(_bind(_socket(found, name, settings), mount.target))
    elif stat.S_ISSOCK(mode) and not nested:
        found.entries.append(_bind(mount.source, mount.target, writable=mount.writable))
    elif stat.S_ISREG(mode) and not mount.writable:
        found.entries.append(_bind(_copy(found, pin, name, settings), mount.target))
    else:
        raise SpecRefusedError(
            "MOUNT_KIND",
            "a mount is neither a directory nor a read-only file nor a socket",
            "mount the directory it lies in",
        )


def _volume(
    found: Mounted,
    device: str,
    target: str,
    name: str,
    settings: ContainerSettings,
    *,
    writable: bool = False,
) -> dict[str, Any]:
    """A volume of this container's own that is a bind mount of one directory."""
    # Read-only is said twice: gVisor (2024-07) refuses to open a file of a mount that it alone
    # knows to be read-only, but truncates it first. What the host's kernel knows, it cannot.
    how = "bind" if writable else "bind,ro"
    volume = f"{name}-{len(found.volumes)}"
    found.volumes.append(volume)
    return {
        "Type": "volume",
        "Source": volume,
        "Target": target,
        "ReadOnly": not writable,
        "VolumeOptions": {
            "NoCopy": True,  # the image has nothing to say here
            "Labels": labels(settings),
            "DriverConfig": {
                "Name": "local",
                "Options": {"type": "none", "o": how, "device": device},
            },
        },
    }


def _programs(
    found: Mounted, name: str, settings: ContainerSettings, below: str
) -> list[dict[str, Any]]:
    """The programs of the host, and what the dynamic linker and Debian's links into /usr need."""
    known = [path for path in ETC_FROM_HOST if Path(path).exists() and not below]
    binds = [_bind(path, path) for path in known]
    if not settings.gvisor:
        return [*(_bind(path, below + path) for path in root_directories()), *binds]
    shown = [_volume(found, path, below + path, name, settings) for path in root_directories()]
    return [*shown, *binds]


def _bind(source: str, target: str, *, writable: bool = False) -> dict[str, Any]:
    """A bind mount by name, of what only root or we can rename."""
    return {
        "Type": "bind",
        "Source": source,
        "Target": target,
        "ReadOnly": not writable,
        # Read-only is said of one file system, so others mounted below it do not come along.
        "BindOptions": {"Propagation": "rprivate", "NonRecursive": True},
    }


def family(settings: ContainerSettings) -> str:
    """What the name of every container of this tier of this daemon begins with."""
    return f"stockade-{settings.instance}-{settings.tier}-"


def forget_copies(settings: ContainerSettings, kept: Collection[str]) -> None:
    """Remove all copies but those of these containers."""
    directory = Path(settings.directory or tempfile.gettempdir())
    for path in directory.glob(family(settings) + "*"):
        if path.name.rpartition("-")[0] not in kept:
            shutil.rmtree(path, ignore_errors=True)


def _own_path(found: Mounted, name: str, settings: ContainerSettings) -> Path:
    if not found.copies:
        found.copies = tempfile.mkdtemp(prefix=f"{name}-", dir=settings.directory or None)
    return Path(found.copies, str(len(found.entries)))


def _socket(found: Mounted, name: str, settings: ContainerSettings) -> str:
    """A socket that nobody listens on."""
    path = _own_path(found, name, settings)
    os.mknod(path, stat.S_IFSOCK | 0o444)
    return str(path)


def _copy(found: Mounted, pin: int, name: str, settings: ContainerSettings) -> str:
    """A copy that nobody else can reach; whatever is done to it is done to no workspace."""
    path = _own_path(found, name, settings)
    with open(f"/proc/self/fd/{pin}", "rb") as source:  # noqa: PTH123
        content = source.read(MAX_COPY + 1)
    if len(content) > MAX_COPY:
        raise SpecRefusedError(
            "MOUNT_TOO_LARGE",
            f"a file that is mounted by itself is larger than {MAX_COPY} bytes",
            "mount the directory it lies in",
        )
    path.write_bytes(content)
    path.chmod(stat.S_IMODE(os.fstat(pin).st_mode) & 0o555 | 0o444)
    return str(path)


def _nested(mount: Mount, mounts: Sequence[Mount]) -> bool:
    return any(
        other.target != mount.target and within(mount.target, other.target) for other in mounts
    )
