"""The program a probe runs inside the sandbox: it tries what must fail and prints what it saw.

Standalone: it is sent as text to an interpreter's standard input, so it imports nothing of ours.
It judges nothing; each line of its JSON is an observation, and `probe` decides what is enough.

It runs exactly where a sandbox may not be holding, perhaps with privileges, so every attempt is
one that changes nothing even where nothing refuses it: files without a name, calls whose arguments
the kernel itself turns down, opens without a write.
"""

import ctypes
import errno
import json
import os
import platform
import socket
from collections.abc import Callable
from pathlib import Path

_KEYCTL = {"x86_64": 250, "aarch64": 219, "riscv64": 219}
_AF_VSOCK = 40
_PTRACE_ATTACH = 16
_PR_GET_NO_NEW_PRIVS = 39


def attempt(action: Callable[[], object]) -> str:
    """`done`, or the name of the error."""
    try:
        action()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, "error")
    return "done"


def libc_call(name: str, *arguments: object) -> str:
    """`done`, or the name of the error, of one C library function."""
    libc = ctypes.CDLL(None, use_errno=True)
    ctypes.set_errno(0)
    if getattr(libc, name)(*arguments) == -1:
        return errno.errorcode.get(ctypes.get_errno(), "error")
    return "done"


def status() -> dict[str, str]:
    """The /proc status of this process, as text."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def flags(point: str) -> str:
    """Whether what is mounted at `point` says it is read-only."""
    lines = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    found = [options.split(",")[0] for _, where, _, options, *_ in lines if where == point]
    return found[-1] if found else "none"


def create(directory: str) -> None:
    """Create a file that, where that is possible, never has a name; gone at once."""
    try:
        os.close(os.open(directory, os.O_TMPFILE | os.O_WRONLY))
    except OSError as error:
        if error.errno != errno.ENOTSUP:
            raise
        # gVisor has no nameless files; a name nobody has, gone at once.
        name = f"{directory}/.stockade-probe-{os.getpid()}"
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        os.unlink(name)  # noqa: PTH108


def connect() -> None:
    """Reach for an address of TEST-NET-1, which nobody has."""
    with socket.socket() as sock:
        sock.settimeout(2)
        sock.connect(("192.0.2.1", 9))


def observations() -> dict[str, str]:
    """Everything this program tried, and what came of it."""
    seen = status()
    number = ctypes.c_long(_KEYCTL.get(platform.machine(), -1))
    return {
        "ran": "yes",
        "write_root": attempt(lambda: create("/")),
        "write_usr": attempt(lambda: create("/usr")),
        "root_flags": flags("/"),
        "usr_flags": flags("/usr"),
        "write_tmp": attempt(lambda: create("/tmp")),  # noqa: S108
        "write_sysctl": attempt(lambda: os.open("/proc/sys/kernel/core_pattern", os.O_WRONLY)),
        "init_memory": attempt(lambda: os.open("/proc/1/mem", os.O_RDWR)),
        "connect": attempt(connect),
        "interfaces": ",".join(name for _, name in socket.if_nameindex()),
        "vsock": attempt(lambda: socket.socket(_AF_VSOCK, socket.SOCK_STREAM)),
        # Without a filter: ENOENT, EINVAL and ESRCH. The filter answers before they are looked at.
        "mount": libc_call("mount", b"none", b"/no/such/place", b"tmpfs", ctypes.c_ulong(0), None),
        "unshare": libc_call("unshare", 0x1000_0001),
        "ptrace": libc_call("ptrace", ctypes.c_long(_PTRACE_ATTACH), 0, None, None),
        "keyctl": libc_call("syscall", number, ctypes.c_long(0), ctypes.c_long(-3), 0),
        "capabilities": "".join(
            seen.get(f"Cap{kind}", "-") for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb")
        ),
        "no_new_privileges": str(ctypes.CDLL(None).prctl(_PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)),
        "seccomp": seen.get("Seccomp", "-"),
        "uid": str(os.getuid()),
        "pid_small": "yes" if os.getpid() < 100 else str(os.getpid()),
        "hostname": platform.node(),
        "environment": ",".join(sorted(os.environ)),
        "descriptors": ",".join(sorted(os.listdir("/proc/self/fd"))),  # noqa: PTH208
        "session": "yes" if os.getsid(0) != 0 and not has_terminal() else "terminal",
    }


def has_terminal() -> bool:
    """Whether there is a controlling terminal."""
    return attempt(lambda: os.open("/dev/tty", os.O_RDWR)) == "done"


if __name__ == "__main__":
    print(json.dumps(observations()))  # noqa: T201 - its one output
