"""Attacks on the kernel's surface, by the other ABIs, and by way of a terminal."""

import os

from sandbox.attacks.attack import Attack, Inside, Outside, Pair
from sandbox.attacks.stage import Stage, beside_the_host, mounted

_MACHINE = os.uname().machine


async def _keyring(stage: Stage) -> Pair:
    given = {"machine": _MACHINE, "token": stage.token}
    return await stage.pair(
        Inside("kernel.keyring", given), Outside("kernel.keyring", given), stage.says_token
    )


async def _file_handle(stage: Stage) -> Pair:
    secret = stage.file("out/secret", stage.token)
    given = {"machine": _MACHINE, "path": "/w/secret"}
    # Its name is granted inside, so that what is refused is the handle.
    return await stage.pair(
        Inside("kernel.file_handle", given, (mounted(secret.parent, "/w"),)),
        Outside("kernel.file_handle", {**given, "path": str(secret)}, "most"),
        stage.says_token,
    )


_OUTSIDE = "run outside, as the user tools run as"
_MOST = "run outside, with all that the daemon has"

ATTACKS = (
    Attack(
        "abi.x32", "make an x32 system call", _OUTSIDE, beside_the_host("kernel.x32", "x32 getpid")
    ),
    Attack(
        "abi.i386",
        "make an i386 system call",
        _OUTSIDE,
        beside_the_host("kernel.i386", "i386 getpid"),
    ),
    Attack(
        "kernel.io_uring", "set up io_uring", _OUTSIDE, beside_the_host("kernel.io_uring", "given")
    ),
    Attack(
        "kernel.bpf",
        "make a BPF map",
        _MOST,
        beside_the_host("kernel.bpf", "given", how="most", machine=_MACHINE),
    ),
    Attack("kernel.keyring", "keep a key in the kernel", _OUTSIDE, _keyring),
    Attack(
        "kernel.userfaultfd",
        "handle page faults",
        _OUTSIDE,
        beside_the_host("kernel.userfaultfd", "given", machine=_MACHINE),
    ),
    Attack(
        "kernel.perf",
        "count events",
        _OUTSIDE,
        beside_the_host("kernel.perf", "given", machine=_MACHINE),
    ),
    Attack(
        "kernel.mount-api",
        "open a file system by the new mount calls",
        "every capability over namespaces of its own",
        beside_the_host("kernel.mount_api", "given", how="namespaces"),
    ),
    Attack(
        "kernel.crypto-socket",
        "use the kernel's ciphers through a socket (AF_ALG)",
        _OUTSIDE,
        beside_the_host("kernel.crypto_socket", "given"),
    ),
    Attack("kernel.file-handle", "open a file by its handle", _MOST, _file_handle),
    Attack(
        "terminal.tiocsti",
        "type into a terminal",
        _MOST,
        beside_the_host("terminal.inject", "typed", how="most", high=False),
    ),
    Attack(
        "terminal.tiocsti-high",
        "type into it by the number + 2^32",
        _MOST,
        beside_the_host("terminal.inject", "typed", how="most", high=True),
    ),
)
