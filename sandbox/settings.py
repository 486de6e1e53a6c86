"""What an operator may choose about the process tier, validated.

Refuses an instance name that could not be told apart from another one's leftovers.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from sandbox.errors import SpecRefusedError
from sandbox.pool import PoolSettings

# Most calls end before they have computed for so long: they keep their weight to their end.
GIVE_WAY_SECONDS = 0.1
_INSTANCE = re.compile(r"[a-z0-9]{4,32}\Z")


@dataclass(frozen=True, slots=True)
class ProcessSettings:
    """The settings of the process tier.

    `instance` marks everything this daemon leaves on the host (cgroups, command lines), so that
    a later `reap` removes its own leftovers and nobody else's: it must be stable across restarts
    and differ between daemons. `use_cgroups` off means rlimits only, and the outcome says so; with
    `require_cgroups` nothing runs without groups that bound memory, processes and processor time.
    `root_becomes` is the host user a run has when the daemon is root. A sandboxed program must
    never hold host uid 0, however mapped: the owner of /proc/sys may write core_pattern. `pool` is
    how much is started ahead while the tier is kept.
    """

    instance: str
    bubblewrap: str = "/usr/bin/bwrap"
    shell: str = "/bin/sh"
    chroot: str = "/usr/sbin/chroot"
    prlimit: str = "/usr/bin/prlimit"
    use_cgroups: bool = True
    require_cgroups: bool = False
    root_becomes: int = 65534
    inside_uid: int = 1000
    poll_seconds: float = 0.05
    give_way_seconds: float = GIVE_WAY_SECONDS
    setup_seconds: float = 10.0
    drain_seconds: float = 5.0
    cleanup_seconds: float = 2.0
    pool: PoolSettings = field(default_factory=PoolSettings)

    @property
    def differing(self) -> Mapping[str, frozenset[str]]:
        """This tier is the measure."""
        return {}

    def __post_init__(self) -> None:
        if _INSTANCE.match(self.instance) is None:
            raise SpecRefusedError(
                "INSTANCE_NAME",
                "an instance name is 4 to 32 lower-case letters and digits",
                "derive it from the data directory, for example by a digest",
            )
        for name in ("root_becomes", "inside_uid"):
            if not 0 < getattr(self, name) < 2**32 - 1:
                raise SpecRefusedError(
                    "UID_REFUSED", f"{name} must be a user id other than 0", "choose another"
                )
