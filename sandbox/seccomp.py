"""The system call filter of the process tier: built once, handed to every run by descriptor.

Trusted to refuse what a namespace does not contain: other architectures' system calls, kernel
interfaces with a long record of escapes, and socket families that no network namespace bounds.
libseccomp checks the architecture first and x32 numbers next; both kill. Arguments are 64 bits
wide in the filter and 32 in the kernel, so comparisons are masked (`TIOCSTI + 2**32`). Raises
`TierUnavailableError` where libseccomp is missing.
"""

import contextlib
import errno
import os
from functools import cache
from types import ModuleType

from sandbox.errors import TierUnavailableError

_LOW_32 = 0xFFFF_FFFF
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_NAMESPACE_FLAGS = (
    0x0002_0000,  # CLONE_NEWNS
    0x0200_0000,  # CLONE_NEWCGROUP
    0x0400_0000,  # CLONE_NEWUTS
    0x0800_0000,  # CLONE_NEWIPC
    0x1000_0000,  # CLONE_NEWUSER
    0x2000_0000,  # CLONE_NEWPID
    0x4000_0000,  # CLONE_NEWNET
)
_FAMILIES = frozenset({1, 2, 10, 16})  # UNIX, INET, INET6, NETLINK: what a netns bounds
_LAST_FAMILY = 64

# Each refused with EPERM, so that a program which only tries goes on without it.
_DENIED = (
    # Namespaces and the mount table.
    *("unshare", "setns", "mount", "umount", "umount2", "pivot_root", "chroot"),
    *("fsopen", "fsconfig", "fsmount", "fspick", "move_mount", "open_tree", "mount_setattr"),
    *("quotactl", "quotactl_fd", "swapon", "swapoff"),
    # Other processes: their memory, descriptors and identity.
    *("ptrace", "process_vm_readv", "process_vm_writev", "process_madvise", "kcmp"),
    *("pidfd_getfd", "move_pages", "migrate_pages"),
    # Large kernel interfaces with a record.
    *("bpf", "perf_event_open", "userfaultfd", "io_uring_setup", "io_uring_enter"),
    *("io_uring_register", "fanotify_init", "memfd_secret"),
    # Keyrings are not namespaced by anything we unshare but the user namespace.
    *("add_key", "request_key", "keyctl"),
    # File handles reach around the mount table.
    *("open_by_handle_at", "name_to_handle_at"),
    # The machine itself.
    *("kexec_load", "kexec_file_load", "init_module", "finit_module", "create_module"),
    *("delete_module", "reboot", "acct", "syslog", "settimeofday", "clock_settime", "stime"),
    *("iopl", "ioperm", "modify_ldt", "vm86", "vm86old", "vhangup", "sethostname"),
    *("setdomainname", "uselib", "ustat", "sysfs", "_sysctl", "nfsservctl", "lookup_dcookie"),
    # Turns off address randomisation, and emulates other systems.
    "personality",
)
# Newer than the libseccomp of Debian 12; above 423 every architecture has one number.
_DENIED_NUMBERS = (467,)  # open_tree_attr
_UNIFIED = frozenset({"x86_64", "aarch64", "riscv64"})


def _library() -> ModuleType:
    try:
        import pyseccomp
    except (ImportError, RuntimeError, OSError):
        raise TierUnavailableError(
            "SECCOMP_MISSING", "libseccomp cannot be loaded", "apt-get install libseccomp2"
        ) from None
    return pyseccomp  # type: ignore[no-any-return]


@cache
def build_program() -> bytes:
    """The filter as a BPF program, for the architecture this daemon runs on."""
    sc = _library()
    try:
        rules = sc.SyscallFilter(sc.ALLOW)
        # Any architecture that is not ours, and x32, which hides inside x86_64's.
        rules.set_attr(sc.Attr.ACT_BADARCH, sc.KILL_PROCESS)
        _deny_calls(sc, rules)
        _deny_arguments(sc, rules)
        return _export(rules)
    except OSError as error:
        raise TierUnavailableError(
            "SECCOMP_UNUSABLE", f"libseccomp refused the filter: {error}", "upgrade libseccomp2"
        ) from None


def _deny_calls(sc: ModuleType, rules: object) -> None:
    add = rules.add_rule  # type: ignore[attr-defined]
    for name in _DENIED:
        number = sc.resolve_syscall(sc.Arch.NATIVE, name)
        if number >= 0:  # otherwise this architecture, or this libseccomp, has no such call
            add(sc.ERRNO(errno.EPERM), number)
    if os.uname().machine in _UNIFIED:
        for number in _DENIED_NUMBERS:
            with contextlib.suppress(OSError):  # a libseccomp that only takes what it knows
                add(sc.ERRNO(errno.EPERM), number)
    # Its flags are in memory, where no filter can look; callers fall back to clone.
    add(sc.ERRNO(errno.ENOSYS), "clone3")


def _deny_arguments(sc: ModuleType, rules: object) -> None:
    add = rules.add_rule  # type: ignore[attr-defined]
    for request in (_TIOCSTI, _TIOCLINUX):
        add(sc.ERRNO(errno.EPERM), "ioctl", sc.Arg(1, sc.MASKED_EQ, _LOW_32, request))
    for flag in _NAMESPACE_FLAGS:
        add(sc.ERRNO(errno.EPERM), "clone", sc.Arg(0, sc.MASKED_EQ, flag, flag))
    for family in range(_LAST_FAMILY):
        if family not in _FAMILIES:
            # AF_VSOCK reaches the hypervisor from inside any network namespace.
            wanted = sc.Arg(0, sc.MASKED_EQ, _LOW_32, family)
            add(sc.ERRNO(errno.EAFNOSUPPORT), "socket", wanted)
            add(sc.ERRNO(errno.EAFNOSUPPORT), "socketpair", wanted)


def _export(rules: object) -> bytes:
    fd = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    with os.fdopen(fd, "r+b", buffering=0) as file:
        rules.export_bpf(file)  # type: ignore[attr-defined]
        file.seek(0)
        return file.read()
