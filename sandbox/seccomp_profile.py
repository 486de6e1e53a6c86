"""The system call filter as the JSON that Docker takes and its runtimes enforce.

The same table as the process tier's (`seccomp_rules`). Pure. runc refuses foreign architectures by
libseccomp, as bubblewrap's filter does; gVisor has none. gVisor's reader of profiles knows no
error but EPERM, so what has to look absent is traced, which without a tracer is ENOSYS.
"""

import errno
import json
import os
from functools import cache

from sandbox.seccomp_rules import DENIED, NOT_THERE, argument_rules

_ARCHITECTURES = {
    "x86_64": "SCMP_ARCH_X86_64",
    "aarch64": "SCMP_ARCH_AARCH64",
    "riscv64": "SCMP_ARCH_RISCV64",
}


@cache
def profile(*, gvisor: bool) -> str:
    """The profile, for runc or for runsc."""
    calls: list[dict[str, object]] = [
        {"names": list(DENIED), "action": "SCMP_ACT_ERRNO", "errnoRet": errno.EPERM},
        {"names": list(NOT_THERE), "action": "SCMP_ACT_TRACE"}
        if gvisor
        else {"names": list(NOT_THERE), "action": "SCMP_ACT_ERRNO", "errnoRet": errno.ENOSYS},
    ]
    calls += [
        {
            "names": [one.call],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": one.error,
            "args": [
                {"index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}
                for index, mask, value in one.conditions
            ],
        }
        for one in argument_rules()
    ]
    # Only our own architecture: every other one, x32 among them, is killed.
    native = _ARCHITECTURES.get(os.uname().machine)
    known = {"architectures": [native]} if native else {}
    return json.dumps({"defaultAction": "SCMP_ACT_ALLOW", **known, "syscalls": calls})
