"""Where a tool writes: to pipes of the launcher's that the daemon reads, or to the engine's.

Standalone, and sent before the launcher as one text with it: it imports nothing of ours. What
passes the engine takes two of its processes on its way, a millisecond of every call. A daemon that
may look at the descriptors of a container's first process can read the launcher's own pipes there,
and says with the request whether it does. Trusted to leave the tool nothing of them but its two
streams. gVisor's pipes cannot be seen from outside, so that none are made there.
"""

import os

CHUNK = 65536  # what a pipe takes as it is made
STREAMS = (1, 2)
PIPES: list[tuple[int, int]] = []  # of each stream: where it is read, where written


def make_pipes() -> bytes:
    """One for each stream; where the daemon finds them."""
    PIPES.extend(os.pipe() for _ in STREAMS)
    return b"".join(b" %d" % read for read, _ in PIPES)


def write_to(own: bool) -> None:
    """From here on these pipes are our streams, or there never were any."""
    for number, (read, written) in zip(STREAMS, PIPES):
        os.close(read)
        if own:
            os.dup2(written, number)
        os.close(written)


def widen(pipe: int, size: int) -> None:
    """Have a pipe take all of it at once, if the kernel lets it."""
    import fcntl

    try:
        if size > CHUNK:
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, size)
    except OSError:
        pass
