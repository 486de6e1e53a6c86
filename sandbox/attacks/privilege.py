"""Attacks on privilege: more of it, or what only privilege reaches."""

import os

from sandbox.attacks.attack import Attack, Inside, Outside, Pair
from sandbox.attacks.stage import Stage, beside_the_host, says

# Opened and closed again, never read from. Only what is the host's wherever it can be opened: a
# kernel of the sandbox's own may have devices of its own.
_DEVICES = ["kmsg", "kvm", "mem", "port", "loop-control", "loop0", "sda", "vda", "nvme0n1"]
_KERNEL_FILES = [
    "/proc/sys/kernel/modprobe",
    "/proc/sys/kernel/hotplug",
    "/proc/sysrq-trigger",
    "/sys/kernel/uevent_helper",
    "/proc/sys/vm/drop_caches",
]
_SYSCTLS = ["/proc/sys/net/ipv4/ip_forward", "/proc/sys/kernel/hostname"]
_CORE_PATTERN = ["/proc/sys/kernel/core_pattern", "/proc/1/root/proc/sys/kernel/core_pattern"]
_CONTROLLERS = ["memory", "pids", "cpu", "devices", "freezer"]


async def _mount(stage: Stage) -> Pair:
    place = stage.folder("mount") / "on"
    return await stage.pair(
        Inside("privilege.mount", {"source": stage.token, "target": "/tmp/on"}),  # noqa: S108 - inside
        Outside("privilege.mount", {"source": stage.token, "target": str(place)}),
        stage.says_token,
    )


async def _make_device(stage: Stage) -> Pair:
    place = stage.folder("devices") / "log"
    return await stage.pair(
        Inside("privilege.make_device", {"path": "/tmp/log"}),  # noqa: S108 - inside
        Outside("privilege.make_device", {"path": str(place)}, "most"),
        says("read"),
    )


async def _make_setuid(stage: Stage) -> Pair:
    return await stage.pair(
        Inside("privilege.make_setuid", {"folder": "/tmp/left"}),  # noqa: S108 - inside
        Outside("privilege.make_setuid", {"folder": str(stage.folder("left") / "left")}),
        says("made"),
    )


_OUTSIDE = "run outside, as the user tools run as"
_MOST = "run outside, with all that the daemon has"

ATTACKS = (
    Attack(
        "privilege.setuid",
        "become root by a set-user-id program",
        _OUTSIDE,
        beside_the_host("privilege.setuid", "root"),
    ),
    Attack(
        "privilege.setuid-made",
        "leave a program that gives its user's rights to whoever starts it",
        _OUTSIDE,
        _make_setuid,
    ),
    Attack(
        "privilege.user-namespace",
        "become root in a new user namespace",
        _OUTSIDE,
        beside_the_host("privilege.user_namespace", "entered", machine=os.uname().machine),
    ),
    Attack("privilege.mount", "mount a file system", _OUTSIDE, _mount),
    Attack(
        "privilege.device-made",
        "make a device node of the kernel's log and read it",
        _MOST,
        _make_device,
    ),
    Attack(
        "privilege.device-open",
        "open a device that is not harmless",
        _MOST,
        beside_the_host("privilege.open_devices", "opened", how="most", names=_DEVICES),
    ),
    Attack(
        "privilege.cgroup",
        "get at a control group: release_agent, cgroup.procs",
        _MOST,
        beside_the_host("privilege.control_groups", "opened", how="most", controllers=_CONTROLLERS),
    ),
    Attack(
        "privilege.sysctl",
        "open a kernel setting to write it",
        "every capability over namespaces of its own",
        beside_the_host("privilege.open_kernel_files", "opened", how="namespaces", paths=_SYSCTLS),
    ),
    Attack(
        "privilege.core-pattern",
        "open core_pattern to write it",
        _MOST,
        beside_the_host("privilege.open_kernel_files", "opened", how="most", paths=_CORE_PATTERN),
    ),
    Attack(
        "privilege.kernel-files",
        "open what makes the kernel run a program, or stop",
        _MOST,
        beside_the_host("privilege.open_kernel_files", "opened", how="most", paths=_KERNEL_FILES),
    ),
)
