"""What no sandboxed program may ask of the kernel: one table for every tier, as plain data.

Pure. `seccomp` makes a BPF program of it for bubblewrap, `seccomp_profile` the JSON that Docker
takes; neither adds or leaves out a rule of its own.
"""

import errno
from collections.abc import Iterator
from dataclasses import dataclass

LOW_32 = 0xFFFF_FFFF
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
_INIT = 1
# The call, and which argument names a process.
_REACH_INIT = (
    *(("kill", 0), ("tkill", 0), ("tgkill", 0), ("tgkill", 1)),
    *(("rt_sigqueueinfo", 0), ("rt_tgsigqueueinfo", 0), ("prlimit64", 0)),
)
_F_SETSIG = 10
# The call, and which argument is a mode; of those that may also make no file, which one says so.
_GIVE_MODE = (
    *(("chmod", 1), ("fchmod", 1), ("fchmodat", 2)),
    *(("creat", 1), ("mknod", 1), ("mknodat", 2)),
)
_MAY_MAKE = (("open", 1, 2), ("openat", 2, 3))
_MAKES = (0o100, 0o20_000_000)  # O_CREAT and O_TMPFILE, the same on all of our architectures
_OTHERS_RIGHTS = (0o4000, 0o2000)  # S_ISUID, S_ISGID

# Each refused with EPERM, so that a program which only tries goes on without it.
DENIED = (
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
DENIED_NUMBERS = (467,)  # open_tree_attr
# What they are asked for is in memory, where no filter can look; callers fall back to clone and
# openat, on ENOSYS only.
NOT_THERE = ("clone3", "openat2")
NOT_THERE_NUMBERS = (452,)  # fchmodat2: callers fall back to fchmodat


@dataclass(frozen=True, slots=True)
class ArgumentRule:
    """Refuse `call` where argument `index`, under `mask`, is `value`; and `also` is so, if any.

    Arguments are 64 bits wide in a filter and 32 in the kernel, so whatever compares a whole
    argument is masked (`TIOCSTI + 2**32`).
    """

    call: str
    index: int
    mask: int
    value: int
    error: int
    also: tuple[int, int, int] | None = None  # another argument, its mask and value

    @property
    def conditions(self) -> tuple[tuple[int, int, int], ...]:
        """All that have to hold: argument, mask, value."""
        first = (self.index, self.mask, self.value)
        return (first,) if self.also is None else (first, self.also)


def argument_rules() -> Iterator[ArgumentRule]:
    """The calls that are refused only for what they ask."""
    for request in (_TIOCSTI, _TIOCLINUX):
        yield ArgumentRule("ioctl", 1, LOW_32, request, errno.EPERM)
    for flag in _NAMESPACE_FLAGS:
        yield ArgumentRule("clone", 0, flag, flag, errno.EPERM)
    for family in range(_LAST_FAMILY):
        if family not in _FAMILIES:
            # AF_VSOCK reaches the hypervisor from inside any network namespace.
            for call in ("socket", "socketpair"):
                yield ArgumentRule(call, 0, LOW_32, family, errno.EAFNOSUPPORT)
    # With a sandbox's first process all of it ends, and as the engine's failure; stopped, it would
    # not hear of the daemon's end. Linux lets few signals reach it, gVisor all; limits reach it in
    # both, and so does a signal that is sent when a descriptor is ready.
    for call, index in _REACH_INIT:
        yield ArgumentRule(call, index, LOW_32, _INIT, errno.EPERM)
    yield ArgumentRule("fcntl", 1, LOW_32, _F_SETSIG, errno.EPERM)
    yield from _giving_rights()


def _giving_rights() -> Iterator[ArgumentRule]:
    """No set-user-id programs, nor set-group-id ones.

    In a workspace one gives whoever starts it on the host the rights of the user that tools are
    there, who may be the daemon's.
    """
    for bit in _OTHERS_RIGHTS:
        for call, mode in _GIVE_MODE:
            yield ArgumentRule(call, mode, bit, bit, errno.EPERM)
        for call, flags, mode in _MAY_MAKE:
            for flag in _MAKES:
                yield ArgumentRule(call, mode, bit, bit, errno.EPERM, (flags, flag, flag))
