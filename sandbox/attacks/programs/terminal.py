"""Attacks by way of a terminal: type into it what its owner did not type."""

import ctypes
import fcntl
import os
import pty
import termios
import tty

_TIOCSTI = 0x5412


def inject(high: bool) -> str:
    """Put a letter into a terminal's input and read it there, as a shell would.

    With `high`, by a number that differs only in bits the kernel ignores.
    """
    terminal, written = _terminal()
    tty.setraw(terminal)
    number = ctypes.c_ulong(_TIOCSTI + (1 << 32 if high else 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(_ioctl(), terminal, number, b"x") == -1:
        return f"refused on {written}: {os.strerror(ctypes.get_errno())}"
    os.set_blocking(terminal, False)
    return f"typed {os.read(terminal, 8).decode()!r} into {written}"


def _ioctl() -> int:
    return 16 if os.uname().machine == "x86_64" else 29


def _terminal() -> tuple[int, str]:
    """The terminal we have, else one that we make and take for our own."""
    for descriptor in (0, 1, 2):
        if os.isatty(descriptor):
            return descriptor, os.ttyname(descriptor)
    try:
        return os.open("/dev/tty", os.O_RDWR), "/dev/tty"
    except OSError:
        pass
    _, ours = pty.openpty()
    if os.getpid() != os.getsid(0):
        if os.fork():
            os.wait()
            os._exit(0)
        os.setsid()
    fcntl.ioctl(ours, termios.TIOCSCTTY, 0)
    return ours, "a terminal of its own"
