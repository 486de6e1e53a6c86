"""How much of a busy processor a run gets: no more than the daemon; once it had its share, least.

A quality of service, no limit and no control of who may do what: what is not to be had here is said
in the report, and refuses nothing. A run begins `light`. One that has computed for longer than most
calls do gives way (`least`): where the groups lie in one of the daemon's own, the kernel then lets
whatever else has work there go first, at once. Not where they lie in the root of version 1, among
all processes of the host: with others always at work it would never go on. There it begins as one
process, however many it has, and is left a quarter of that. Its end is to be over soon, so it gets
its weight back for that. Raises nothing: a group that is gone has no weight.
"""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from sandbox.cgroup import read, write

IDLE = "cpu.idle"  # Linux 5.15 and later, in both versions
LIGHT_SHARES = 512  # of the 1024 that are the usual in version 1, and to Docker
_ONE_PROCESS, _QUARTER, _LEAST_SHARES = "1024", "256", "2"
# What Docker makes of those shares in version 2, of the usual 100; and the least there is.
_LIGHT_WEIGHT, _LEAST_WEIGHT = 20, "1"
_ROOTS_ALONE = "release_agent"  # a file that no other group of version 1 has


@dataclass(frozen=True, slots=True)
class Weight:
    """Of one group: the file it is set by, and what is written there."""

    file: Path
    light: str
    least: str
    may_idle: bool

    @property
    def there(self) -> bool:
        """Whether the kernel weighs groups here."""
        return self.file.exists()

    @property
    def described(self) -> str:
        """For the enforcement report; empty where there is none."""
        if not self.there:
            return ""
        return f"{self.file.name} {self.light}, then {IDLE if self._idles else self.least}"

    def set_light(self) -> None:
        """As a run begins, and as it ends."""
        with contextlib.suppress(OSError):
            if self._idles and read(self._idle).strip() != "0":
                write(self._idle, "0")  # while it is set, the weight cannot be
            write(self.file, self.light)

    def set_least(self) -> None:
        """As one that has had its share goes on."""
        with contextlib.suppress(OSError):
            if self._idles:
                write(self._idle, "1")
            else:
                write(self.file, self.least)

    @property
    def _idles(self) -> bool:
        return self.may_idle and self._idle.exists()

    @property
    def _idle(self) -> Path:
        return self.file.with_name(IDLE)


def v1(directory: Path) -> Weight:
    """Of a group of the `cpu` controller."""
    shares = directory / "cpu.shares"
    if (directory.parent / _ROOTS_ALONE).exists():
        return Weight(shares, _ONE_PROCESS, _QUARTER, may_idle=False)
    return Weight(shares, str(LIGHT_SHARES), _LEAST_SHARES, may_idle=True)


def v2(directory: Path) -> Weight:
    """Of a group of version 2, which is always in one that is the daemon's own."""
    return Weight(directory / "cpu.weight", str(_LIGHT_WEIGHT), _LEAST_WEIGHT, may_idle=True)
