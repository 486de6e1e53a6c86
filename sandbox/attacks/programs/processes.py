"""Attacks on processes outside, each aimed at a victim made for it."""

import ctypes
import os
import signal
import time
from pathlib import Path

_ATTACH, _DETACH = 16, 17
_SET_PTRACER, _ANY = 0x59616D61, ctypes.c_ulong(-1)


def victim(token: str) -> str:
    """Wait to be attacked; in its memory, its environment, or by a signal."""
    libc = ctypes.CDLL(None)
    libc.prctl(_SET_PTRACER, _ANY, 0, 0, 0)
    held = ctypes.create_string_buffer(token.encode())
    print(f"ready {os.getpid()} {ctypes.addressof(held)}", flush=True)  # noqa: T201
    time.sleep(8)
    return "nobody came"


def send_signal(pid: int) -> str:
    """End the victim."""
    os.kill(pid, signal.SIGTERM)
    return "sent"


def trace(pid: int, address: int) -> str:
    """Stop the victim under control and read its memory."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.ptrace(ctypes.c_long(_ATTACH), pid, None, None) == -1:
        return f"refused: {os.strerror(ctypes.get_errno())}"
    try:
        os.waitpid(pid, 0)
        with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
            memory.seek(address)
            return memory.read(64).split(b"\0")[0].decode()
    finally:
        libc.ptrace(ctypes.c_long(_DETACH), pid, None, None)


def read_memory(pid: int, address: int) -> str:
    """Read the victim's memory without stopping it."""
    libc = ctypes.CDLL(None, use_errno=True)
    into = ctypes.create_string_buffer(64)
    ours = (ctypes.c_void_p * 2)(ctypes.addressof(into), 64)
    theirs = (ctypes.c_void_p * 2)(address, 64)
    got = libc.process_vm_readv(pid, ours, ctypes.c_ulong(1), theirs, ctypes.c_ulong(1), 0)
    return into.value.decode() if got > 0 else f"refused: {os.strerror(ctypes.get_errno())}"


def read_environments() -> str:
    """Look in the environment of every process there is for the victim's; show no other."""
    for name in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 - glob raises if one goes
        try:
            for assigned in Path(f"/proc/{name}/environ").read_bytes().split(b"\0"):
                if assigned.startswith(b"STOCKADE_VICTIM="):
                    return assigned.decode()
        except OSError:
            continue
    return "the victim's is not to be seen"


def hide(token: str, places: list[str]) -> str:
    """Leave a token where only this call should see it, and stay."""
    for place in places:
        if os.path.isdir(place):  # noqa: PTH112
            Path(place, f"stockade-{token[:8]}").write_text(token)
    print("ready", flush=True)  # noqa: T201
    time.sleep(8)
    return "left"


def seek(name: str, places: list[str]) -> str:
    """Look for what another call left, also through other processes' roots."""
    roots = ["", *(f"{path}/root" for path in Path("/proc").glob("[0-9]*"))]
    for path in (Path(f"{root}{place}/{name}") for root in roots for place in places):
        try:
            return path.read_text()
        except OSError:
            continue
    return "nothing there"
