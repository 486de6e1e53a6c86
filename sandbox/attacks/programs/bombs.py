"""Attacks on what everybody shares: each takes a bounded amount and says whether it had it all."""

import os
import signal
import time
from pathlib import Path


def fork(count: int) -> str:
    """Have so many processes at once."""
    for made in range(count):
        try:
            if os.fork() == 0:
                time.sleep(8)
                os._exit(0)
        except OSError as error:
            return f"{made} and no more: {error.strerror}"
    return f"all {count}"


def zombies(count: int) -> str:
    """Have so many dead children that nobody waits for."""
    for made in range(count):
        try:
            if os.fork() == 0:
                os._exit(0)
        except OSError as error:
            return f"{made} and no more: {error.strerror}"
    return f"all {count}"


def threads(count: int) -> str:
    """Have so many threads at once."""
    import threading

    threading.stack_size(64 * 1024)
    for made in range(count):
        try:
            threading.Thread(target=time.sleep, args=(8,), daemon=True).start()
        except RuntimeError:
            return f"{made} and no more"
    print(f"all {count}", flush=True)  # noqa: T201
    os._exit(0)


def memory(mib: int) -> str:
    """Hold so much memory in one process."""
    try:
        held = b"x" * (mib << 20)
    except MemoryError:
        return "refused: no memory"
    return f"all {len(held) >> 20} MiB"


def memory_of_children(mib: int, children: int) -> str:
    """Hold so much memory in several processes, none of which holds much."""
    read, write = os.pipe()
    for _ in range(children):
        if os.fork() == 0:
            held = b"x" * (mib // children << 20)
            os.write(write, b"h" if held else b"")
            time.sleep(8)
            os._exit(0)
    got = b""
    while len(got) < children:
        got += os.read(read, children)
        time.sleep(0.3)  # a limit that is looked at from time to time has its chance
    return f"all {mib} MiB"


def disk(place: str, mib: int) -> str:
    """Fill so much of a scratch directory, in files of 4 MiB."""
    block, written = bytes(1 << 20), 0
    for number in range(mib):
        with Path(place, f"bomb{number // 4}").open("ab", buffering=0) as file:
            written += file.write(block)
    return f"all {written >> 20} MiB"


def inodes(place: str, count: int) -> str:
    """Have so many empty files, for half a second."""
    for made in range(count):
        try:
            os.close(os.open(f"{place}/i{made}", os.O_CREAT | os.O_WRONLY))
        except OSError as error:
            return f"{made} and no more: {error.strerror}"
    time.sleep(0.5)
    return f"all {count}"


def file_size(path: str, mib: int) -> str:
    """Make one file so large."""
    with Path(path).open("wb", buffering=0) as file:
        file.truncate(mib << 20)
    return f"all {mib} MiB"


def output(gib: int) -> str:
    """Write so much output."""
    block = bytes(1 << 20)
    for _ in range(gib << 10):
        os.write(1, block)
    return "all"


def stop_itself() -> str:
    """Stop, so that it can neither end nor be asked to."""
    os.kill(os.getpid(), signal.SIGSTOP)
    return "went on"


def spin(seconds: float) -> str:
    """Use so much processor time, in two processes."""
    if os.fork() == 0:
        while time.process_time() < seconds / 2:
            pass
        os._exit(0)
    while time.process_time() < seconds / 2:
        pass
    os.wait()
    return f"all {seconds} s"


def descriptors(count: int) -> str:
    """Have so many descriptors open."""
    for made in range(count):
        try:
            os.dup(0)
        except OSError as error:
            return f"{made} and no more: {error.strerror}"
    return f"all {count}"
