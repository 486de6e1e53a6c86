"""The system call filter of the process tier: built once, handed to every run by descriptor.

Trusted to refuse what a namespace does not contain: other architectures' system calls, kernel
interfaces with a long record of escapes, and socket families that no network namespace bounds: the
table is `seccomp_rules`. libseccomp checks the architecture first and x32 numbers next; both kill.
Raises `TierUnavailableError` where libseccomp is missing.
"""

import contextlib
import errno
import os
from functools import cache
from types import ModuleType

from sandbox.errors import TierUnavailableError
from sandbox.seccomp_rules import (
    DENIED,
    DENIED_NUMBERS,
    NOT_THERE,
    NOT_THERE_NUMBERS,
    argument_rules,
)

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
    refused, absent = sc.ERRNO(errno.EPERM), sc.ERRNO(errno.ENOSYS)
    for names, action in ((DENIED, refused), (NOT_THERE, absent)):
        for name in names:
            number = sc.resolve_syscall(sc.Arch.NATIVE, name)
            if number >= 0:  # otherwise this architecture, or this libseccomp, has no such call
                add(action, number)
    if os.uname().machine in _UNIFIED:
        for numbers, action in ((DENIED_NUMBERS, refused), (NOT_THERE_NUMBERS, absent)):
            for number in numbers:
                with contextlib.suppress(OSError):  # a libseccomp that only takes what it knows
                    add(action, number)


def _deny_arguments(sc: ModuleType, rules: object) -> None:
    add = rules.add_rule  # type: ignore[attr-defined]
    for one in argument_rules():
        wanted = [sc.Arg(index, sc.MASKED_EQ, mask, value) for index, mask, value in one.conditions]
        add(sc.ERRNO(one.error), one.call, *wanted)


def _export(rules: object) -> bytes:
    fd = os.memfd_create("seccomp", os.MFD_CLOEXEC)
    with os.fdopen(fd, "r+b", buffering=0) as file:
        rules.export_bpf(file)  # type: ignore[attr-defined]
        file.seek(0)
        return file.read()
