"""Attacks on later: go on after the call has ended, or leave something for the next one.

What outlives its call here ends by itself within seconds, and what is left in the kernel is removed
by `find`.
"""

import ctypes
import os
import time
from pathlib import Path

_KEYS = {"x86_64": (248, 250), "aarch64": (217, 219), "riscv64": (217, 219)}
_USER_KEYRING = -4
_CREATE = 0o1000


def outlive(beat: str) -> str:
    """Leave a process behind, twice forked and in its own session, that shows it is alive."""
    if os.fork():
        os.wait()
        return "left"
    os.setsid()
    if os.fork():
        os._exit(0)
    for descriptor in (0, 1, 2):
        os.close(descriptor)
    until = time.monotonic() + 6
    while time.monotonic() < until:
        with open(beat, "a") as file:  # noqa: PTH123
            file.write("x")
        time.sleep(0.05)
    os._exit(0)


def plant(folder: str, names: list[str], token: str) -> str:
    """Leave files in a workspace that others will run; if need be, where its folders were."""
    planted = []
    for name in names:
        path = Path(folder, name)
        for above in (path, *path.parents):
            if str(above) == folder:
                break
            try:
                above.rename(f"{above}.old")
            except OSError:
                continue
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(token)
            planted.append(name)
        except OSError:
            continue
    return f"planted {', '.join(planted)}" if planted else "refused: all of them"


def leave(token: str, key: int, machine: str) -> str:
    """Leave the token in files, in shared memory and in the kernel's keyring."""
    left = []
    for place in ("/tmp", "/dev/shm", "/var/tmp", "/run"):  # noqa: S108
        try:
            Path(place, f"stockade-{key}").write_text(token)
            left.append(place)
        except OSError:
            continue
    libc = ctypes.CDLL(None, use_errno=True)
    libc.shmat.restype = ctypes.c_void_p
    segment = libc.shmget(key, 4096, _CREATE | 0o600)
    if segment != -1:
        ctypes.memmove(libc.shmat(segment, None, 0), token.encode(), len(token))
        left.append("shared memory")
    add_key = _KEYS[machine][0]
    name = f"stockade-{key}".encode()
    wanted = ctypes.c_long(_USER_KEYRING)
    if (
        libc.syscall(add_key, b"user", name, token.encode(), ctypes.c_size_t(len(token)), wanted)
        > 0
    ):
        left.append("keyring")
    return f"in {', '.join(left)}"


def find(key: int, machine: str) -> str:
    """Look for what an earlier call left, and take it away."""
    found = []
    for place in ("/tmp", "/dev/shm", "/var/tmp", "/run"):  # noqa: S108
        path = Path(place, f"stockade-{key}")
        try:
            found.append(f"{path.read_text()} in {place}")
            path.unlink()
        except OSError:
            continue
    libc = ctypes.CDLL(None, use_errno=True)
    libc.shmat.restype = ctypes.c_void_p
    segment = libc.shmget(key, 4096, 0)
    if segment != -1:
        text = ctypes.string_at(libc.shmat(segment, None, 0), 32).decode()
        found.append(f"{text} in shared memory")
        libc.shmctl(segment, 0, None)
    keyctl = _KEYS[machine][1]
    name = f"stockade-{key}".encode()
    number = libc.syscall(keyctl, 10, ctypes.c_long(_USER_KEYRING), b"user", name, 0)
    if number > 0:
        into = ctypes.create_string_buffer(64)
        libc.syscall(keyctl, 11, number, into, ctypes.c_size_t(64))
        found.append(f"{into.value.decode()} in the keyring")
        libc.syscall(keyctl, 21, number)
    return "; ".join(found) or "nothing there"
