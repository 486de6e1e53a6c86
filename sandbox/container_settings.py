"""What an operator may choose about the container tiers, validated.

The two tiers differ in little more than the runtime; what differs is here, in one place.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from sandbox.errors import SpecRefusedError
from sandbox.pool import PoolSettings
from sandbox.settings import GIVE_WAY_SECONDS

_MIB = 2**20
_INSTANCE = re.compile(r"[a-z0-9]{4,32}\Z")
# Its kernel looks at owners before it looks at mounts, has no settings in /proc and no ambient
# capabilities, answers EPERM wherever a filter refuses, and calls hosts unreachable, not networks.
_GVISOR_SAYS: Mapping[str, frozenset[str]] = {
    "write_root": frozenset({"EROFS", "EACCES"}),
    "write_usr": frozenset({"EROFS", "EACCES"}),
    "write_sysctl": frozenset({"ENOENT", "EACCES", "EPERM", "EROFS"}),
    "connect": frozenset({"EHOSTUNREACH", "ENETUNREACH"}),
    "vsock": frozenset({"EPERM", "EAFNOSUPPORT"}),
    "capabilities": frozenset({"0" * 16 * 5, "0" * 16 * 4 + "-"}),
}
_RUNTIME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")


@dataclass(frozen=True, slots=True)
class ContainerSettings:
    """The settings of one container tier.

    `instance` marks what this daemon leaves in the engine, so that a later `reap` removes its own
    leftovers and nobody else's. `gvisor` says that the runtime is runsc. `root_becomes` is the user
    a run has when the daemon is root; otherwise it has the daemon's own. `directory` is a place of
    the daemon's own for what Docker has to be shown by name; empty: where temporary files are. A
    removal that takes an engine longer than `remove_seconds` is not waited for. A run that has used
    `give_way_seconds` of processor time lets everybody else go first.
    """

    instance: str
    gvisor: bool = False
    runtime: str = "runc"
    socket: str = "/var/run/docker.sock"
    directory: str = ""
    root_becomes: int = 65534
    poll_seconds: float = 0.05
    give_way_seconds: float = GIVE_WAY_SECONDS
    start_seconds: float = 60.0
    drain_seconds: float = 5.0
    remove_seconds: float = 20.0
    look_seconds: float = 10.0
    pool: PoolSettings = field(default_factory=lambda: PoolSettings(total=8, starts=2))

    def __post_init__(self) -> None:
        if _INSTANCE.match(self.instance) is None:
            raise SpecRefusedError(
                "INSTANCE_NAME",
                "an instance name is 4 to 32 lower-case letters and digits",
                "derive it from the data directory, for example by a digest",
            )
        if _RUNTIME.match(self.runtime) is None:
            raise SpecRefusedError(
                "RUNTIME_NAME",
                "the runtime's name is not one Docker could have",
                "name one that `docker info` lists",
            )

    @property
    def tier(self) -> str:
        """The name of the tier."""
        return "gvisor" if self.gvisor else "container"

    @property
    def inside_uid(self) -> int:
        """The user of every run: inside, and on the host."""
        return os.geteuid() or self.root_becomes

    @property
    def differing(self) -> Mapping[str, frozenset[str]]:
        """What a probe sees where gVisor's kernel, or its reading of our filter, differs."""
        return _GVISOR_SAYS if self.gvisor else {}

    @property
    def own_memory(self) -> int:
        """What the launcher (and gVisor's kernel) take of the container's memory."""
        return 32 * _MIB if self.gvisor else 8 * _MIB

    @property
    def gives_way_after(self) -> float:
        """Processor time of a run after which it lets others go first."""
        # Until a tool has begun, gVisor's kernel has computed for it, for as long as many a tool.
        return self.give_way_seconds + (0.5 if self.gvisor else 0.0)

    def most_pids(self, wanted: int) -> int:
        """The group's limit for a run that may have `wanted` processes."""
        # gVisor counts its guests itself (RLIMIT_NPROC); outside each of them is up to two threads,
        # besides those of its kernel. Otherwise only the launcher is added.
        return 2 * wanted + 128 if self.gvisor else wanted + 1
