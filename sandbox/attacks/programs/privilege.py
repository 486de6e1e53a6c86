"""Attacks on privilege: get more of it, or at what only privilege reaches.

Devices and kernel files are opened, never read from or written to beyond what is harmless.
"""

import ctypes
import os
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

_NEWNS, _NEWUSER, _HIGH = 0x0002_0000, 0x1000_0000, 1 << 40
_REC, _PRIVATE, _DETACH = 0x4000, 0x4_0000, 2
_CLONE = {"x86_64": 56, "aarch64": 220, "riscv64": 220}
_SETUID = ("su", "newgrp", "passwd", "sudo", "chsh", "gpasswd")


def setuid() -> str:
    """Start a program of the host's that is set-user-id root, and see whom it runs as."""
    for name in _SETUID:
        for path in (Path("/usr/bin", name), Path("/bin", name)):
            # Whose it is cannot be told everywhere: in a user namespace root may be nobody.
            if path.exists() and path.stat().st_mode & stat.S_ISUID:
                return _effective_user(path)
    return "no such program here"


def _effective_user(path: Path) -> str:
    # They wait for a password on standard input, which stays open and silent.
    child = subprocess.Popen(  # noqa: S603
        [path], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until = time.monotonic() + 1
        while time.monotonic() < until and child.poll() is None:
            lines = Path(f"/proc/{child.pid}/status").read_text().splitlines()
            ids = next(line for line in lines if line.startswith("Uid:")).split()[1:]
            if ids[1] != ids[0]:
                return f"root is what {path.name} runs as"
            time.sleep(0.01)
    finally:
        child.kill()
        child.wait()
    return f"{path.name} runs as whoever started it"


def make_setuid(folder: str) -> str:
    """Leave a set-user-id program, as one would in a workspace, by each way that Python has."""
    place, refusals = Path(folder), []
    place.mkdir()
    (place / "own").touch(0o700)
    ways: tuple[Callable[[], None], ...] = (
        lambda: (place / "own").chmod(0o4700),
        lambda: os.close(os.open(place / "new", os.O_CREAT | os.O_WRONLY, 0o4700)),
        lambda: os.mknod(place / "node", stat.S_IFREG | 0o4700),
    )
    for way in ways:
        try:
            way()
        except OSError as error:
            refusals.append(error.strerror or str(error))
    if made := [one.name for one in place.iterdir() if one.stat().st_mode & stat.S_ISUID]:
        return f"made: {', '.join(sorted(made))}"
    return f"refused: {', '.join(refusals)}"


def user_namespace(machine: str) -> str:
    """Become root in a new user namespace, by each way the kernel has."""
    before = Path("/proc/self/ns/user").readlink()
    libc = ctypes.CDLL(None, use_errno=True)
    refusals = []
    for flags in (_NEWUSER, _NEWUSER | _HIGH):
        # SIGCHLD in the low byte; the high bit is one the kernel ignores and a filter may not.
        pid = libc.syscall(_CLONE.get(machine, -1), ctypes.c_ulong(flags | 17), 0, 0, 0, 0)
        if pid == 0:
            os._exit(0)
        if pid > 0:
            os.waitpid(pid, 0)
            return "entered by clone"
        refusals.append(os.strerror(ctypes.get_errno()))
    if libc.unshare(_NEWUSER) == 0:
        return (
            "entered by unshare" if Path("/proc/self/ns/user").readlink() != before else "nothing"
        )
    refusals.append(os.strerror(ctypes.get_errno()))
    return "refused: " + ", ".join(dict.fromkeys(refusals))


def mount(source: str, target: str) -> str:
    """Mount a file system, if need be as root of a new user namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    os.makedirs(target, exist_ok=True)  # noqa: PTH103
    libc.unshare(_NEWUSER | _NEWNS)
    flags = ctypes.c_ulong(0)
    if libc.mount(source.encode(), target.encode(), b"tmpfs", flags, None) == -1:
        return f"refused: {os.strerror(ctypes.get_errno())}"
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return next((line for line in lines if source in line), "it is not there")


def make_device(path: str) -> str:
    """Make a device node, of the kernel's log, and read a line of it; show none."""
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 11))
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    return f"read {len(os.read(descriptor, 8192))} bytes of the kernel's log"


def open_devices(names: list[str]) -> str:
    """Open devices that reach the kernel, the machine or other people's files."""
    return _opened([f"/dev/{name}" for name in names], os.O_RDONLY)


def open_kernel_files(paths: list[str]) -> str:
    """Open for writing what tells the kernel to run a program, or to stop; write nothing."""
    return _opened(paths, os.O_WRONLY)


def control_groups(controllers: list[str]) -> str:
    """Get at a control group: its release agent, its members; if need be by mounting one."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_NEWNS) == 0:
        # Whoever may mount does it where nobody else sees it.
        libc.mount(b"none", b"/", None, ctypes.c_ulong(_REC | _PRIVATE), None)
    for name in controllers:
        with _empty_folder() as target:
            flags = ctypes.c_ulong(0)
            if libc.mount(b"none", target.encode(), b"cgroup", flags, name.encode()) == 0:
                found = _opened([f"{target}/release_agent", f"{target}/cgroup.procs"], os.O_WRONLY)
                libc.umount2(target.encode(), _DETACH)
                if found.startswith("opened"):
                    return found
    root = Path("/sys/fs/cgroup")
    wanted = ("release_agent", "cgroup.procs", "*/release_agent", "*/cgroup.procs")
    return _opened([str(path) for name in wanted for path in root.glob(name)], os.O_WRONLY)


def _empty_folder() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory(prefix="stockade-group-", ignore_cleanup_errors=True)


def _opened(paths: list[str], flags: int) -> str:
    found, refusals = [], ["nothing there"]
    for path in paths:
        try:
            os.close(os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY))
            found.append(path)
        except OSError as error:
            refusals.append(error.strerror or "error")
    if found:
        return f"opened {', '.join(found[:4])}"
    return "refused: " + ", ".join(dict.fromkeys(refusals[1:] or refusals))
