"""Attacks on the kernel's surface: interfaces with a record of escapes, and the other ABIs."""

import ctypes
import mmap
import os
import socket
import struct

_X32 = 0x4000_0000
# The number of each call; those above 423 are the same everywhere.
_NUMBERS = {
    "x86_64": {"bpf": 321, "userfaultfd": 323, "perf": 298, "add_key": 248, "keyctl": 250,
               "name": 303, "open": 304},
    "aarch64": {"bpf": 280, "userfaultfd": 282, "perf": 241, "add_key": 217, "keyctl": 219,
                "name": 264, "open": 265},
    "riscv64": {"bpf": 280, "userfaultfd": 282, "perf": 241, "add_key": 217, "keyctl": 219,
                "name": 264, "open": 265},
}  # fmt: skip


def x32() -> str:
    """Make a call by the numbers that hide inside x86_64's."""
    made, number = _call(_X32 + 39)
    return f"x32 getpid gave {made}" if made == os.getpid() else _refused(number)


def i386() -> str:
    """Make a call by the numbers of 32 bits: mov $20, %eax; int $0x80; ret."""
    code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    code.write(b"\xb8\x14\x00\x00\x00\xcd\x80\xc3")
    address = ctypes.addressof(ctypes.c_char.from_buffer(code))
    made = ctypes.CFUNCTYPE(ctypes.c_int)(address)()
    return f"i386 getpid gave {made}" if made == os.getpid() else _refused(-made)


def io_uring() -> str:
    """Set up the queue that makes system calls no filter sees."""
    return _descriptor(425, 1, ctypes.create_string_buffer(120))


def bpf(machine: str) -> str:
    """Make a BPF array."""
    wanted = ctypes.create_string_buffer(struct.pack("=IIII", 2, 4, 4, 1), 128)
    return _descriptor(_NUMBERS[machine]["bpf"], 0, wanted, 128)


def userfaultfd(machine: str) -> str:
    """Handle page faults, with which races in the kernel are won."""
    return _descriptor(_NUMBERS[machine]["userfaultfd"], 1)


def perf(machine: str) -> str:
    """Count events of this very program: software event 1, nothing of the kernel's."""
    wanted = struct.pack("=IIQQQQQ", 1, 112, 1, 0, 0, 0, 0b110_0000)
    attributes = ctypes.create_string_buffer(wanted, 112)
    return _descriptor(_NUMBERS[machine]["perf"], attributes, 0, -1, -1, 0)


def mount_api() -> str:
    """Open a file system that could be mounted."""
    return _descriptor(430, b"tmpfs", 0)


def keyring(machine: str, token: str) -> str:
    """Keep a key in the kernel and read it back."""
    numbers, into = _NUMBERS[machine], ctypes.create_string_buffer(64)
    key, number = _call(numbers["add_key"], b"user", b"x", token.encode(), len(token), -2)
    if key == -1:
        return _refused(number)
    got, number = _call(numbers["keyctl"], 11, key, into, 64)
    _call(numbers["keyctl"], 21, key)  # invalidate
    return into.value.decode() if got > 0 else _refused(number)


def crypto_socket() -> str:
    """Get at the kernel's ciphers by a socket: code that is seldom used, and runs as the kernel."""
    with socket.socket(38, socket.SOCK_SEQPACKET) as sock:
        sock.bind(("skcipher", "ecb(aes)"))
        return "given a cipher"


def file_handle(machine: str, path: str) -> str:
    """Open a file by its handle, around the tree of mounts."""
    numbers = _NUMBERS[machine]
    handle = ctypes.create_string_buffer(struct.pack("=II", 128, 0), 136)
    mounted = ctypes.c_int()
    made, number = _call(numbers["name"], -100, path.encode(), handle, ctypes.byref(mounted), 0)
    if made == -1:
        return _refused(number)
    descriptor = os.open(os.path.dirname(path), os.O_RDONLY)  # noqa: PTH120
    made, number = _call(numbers["open"], descriptor, handle, 0)
    return os.pread(made, 200, 0).decode() if made >= 0 else _refused(number)


def _call(number: int, *arguments: object) -> tuple[int, int]:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall.restype = ctypes.c_long
    ctypes.set_errno(0)
    words = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    return libc.syscall(ctypes.c_long(number), *words), ctypes.get_errno()


def _descriptor(number: int, *arguments: object) -> str:
    made, error = _call(number, *arguments)
    return f"given descriptor {made}" if made >= 0 else _refused(error)


def _refused(number: int) -> str:
    return f"refused: {os.strerror(number)}"
