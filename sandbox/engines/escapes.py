"""Published ways out of what the tiers are made of, and the versions that close them.

A small table, kept by hand: what is in it was looked up (the advisory, and the distribution's
changelog for a back-port). What is not in it is not known here; that is no promise that there is
nothing. Pure.
"""

from dataclasses import dataclass

from sandbox.engines.debian_version import compare, upstream


@dataclass(frozen=True, slots=True)
class Escape:
    """One. `fixed` has the first good version of each branch, oldest branch first.

    `packages` has versions of distributions' packages that close it though upstream's number is
    older. `since` is the first version that has it, if it was not always there.
    """

    id: str
    engine: str
    summary: str
    fixed: tuple[str, ...]
    packages: tuple[str, ...] = ()
    since: str = ""

    @property
    def fixed_in(self) -> str:
        """For people."""
        return ", ".join((*self.fixed, *self.packages))

    def is_in(self, version: str, package: str = "") -> bool:
        """Whether this version has it, given also the package's version if it came with one."""
        if package and any(
            upstream(package) == upstream(good) and compare(package, good) >= 0
            for good in self.packages
        ):
            return False
        if self.since and compare(version, self.since) < 0:
            return False
        last = self.fixed[-1]
        return not any(
            compare(version, good) >= 0 and (good == last or _branch(version) == _branch(good))
            for good in self.fixed
        )


def _branch(version: str) -> list[str]:
    return version.split(".")[:2]


_RUNC_2025 = ("1.2.8", "1.3.3", "1.4.0~rc3")

ESCAPES: tuple[Escape, ...] = (
    Escape(
        "CVE-2019-5736",
        "runc",
        "a container overwrites the host's runc through /proc/self/exe",
        ("1.0.0~rc7",),
    ),
    Escape(
        "CVE-2021-30465",
        "runc",
        "a link exchanged in a race has a volume mounted outside the root",
        ("1.0.0~rc95",),
        ("1.0.0~rc94+ds1-2",),
    ),
    Escape(
        "CVE-2024-21626",
        "runc",
        "a descriptor left open leads to the host's files",
        ("1.1.12",),
        ("1.1.5+ds1-1+deb12u1",),
        since="1.0.0~rc93",
    ),
    Escape(
        "CVE-2025-31133",
        "runc",
        "a race over masked paths gives write access to the host's /proc",
        _RUNC_2025,
    ),
    Escape(
        "CVE-2025-52565",
        "runc",
        "a race over /dev/console gives write access to the host's /proc",
        _RUNC_2025,
    ),
    Escape(
        "CVE-2025-52881",
        "runc",
        "writes to /proc are redirected, past the security module",
        _RUNC_2025,
    ),
    Escape(
        "CVE-2020-5291",
        "bubblewrap",
        "installed set-user-id root, a user gets root's capabilities",
        ("0.4.1",),
        since="0.4.0",
    ),
    Escape(
        "CVE-2021-21284",
        "dockerd",
        "with userns-remap, a container's root changes the engine's files",
        ("19.03.15", "20.10.3"),
    ),
    Escape(
        "CVE-2026-96812",
        "runsc",
        "a device node in an image reaches the host's /dev/cuse",
        ("20260824.0",),
    ),
)
