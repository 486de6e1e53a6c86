"""The way of a request, gone once while a launcher waits, by both of its processes.

Standalone, and sent with the launcher as one text: it imports nothing of ours. A page that is
touched for the first time costs, in gVisor as much as several system calls, and an address space
that is new takes milliseconds to make. Trusted to leave nothing changed that a tool could see, and
to run nothing of an image that is a tool's own.
"""

import gc
import os
import resource
import signal
import sys
import time

QUIET_MILLISECONDS = 100  # after which nobody is taken to be in a hurry

MYPY = False
if MYPY:  # one text with these
    import select

    from sandbox.in_place import empty
    from sandbox.launcher import SPARE, attend, become, prepared


def rehearse() -> None:
    """Go the way of a request that does nothing and leaves nothing changed."""
    after, before = os.dup(0), os.pipe()
    limits = [b"%d:%d:%d" % (one, *resource.getrlimit(one)) for one in (resource.RLIMIT_CORE,) * 3]
    what = [b"run", b".", b"/dev/null/x"]  # a program in no image, whatever is in it
    body = b"".join(map(put, (what, limits, list[bytes](), [b"x"], [b"PATH=/nonexistent"])))
    os.write(before[1], bytes(4) + len(body).to_bytes(4, "big") + body)
    os.dup2(before[0], 0)
    try:
        _, _, program, argv, environment = prepared()
        become(program, argv, environment)
    except (FileNotFoundError, NotADirectoryError):
        pass
    finally:
        os.dup2(after, 0)
        for fd in (after, *before):
            os.close(fd)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    time.tzset()
    names = dict(sys.modules["__main__"].__dict__)
    code = "class A:\n def f(self, *x, **y): return [f'{one}' for one in x]\nA().f(1, 2, a=3)"
    exec(compile(code, "<string>", "exec", dont_inherit=True), {})  # noqa: S102 - ours, above
    empty(names)
    gc.collect()
    sys.stdout.flush()
    sys.stderr.flush()
    gc.freeze()


def put(fields: list[bytes]) -> bytes:
    """A list of a request."""
    sized = b"".join(len(field).to_bytes(4, "big") + field for field in fields)
    return len(fields).to_bytes(4, "big") + sized


def quiet() -> bool:
    """Whether nothing has come for a while."""
    waiting = select.poll()
    waiting.register(0, select.POLLIN)
    return not waiting.poll(QUIET_MILLISECONDS)


def make_spare() -> None:
    """Address spaces that gVisor keeps, for the tool's to be one of them: they are slow to make.

    Elsewhere none, for a group's limit would count them; and none for an image of a tool's own, of
    which nothing runs before its call.
    """
    for _ in range(SPARE):
        waits, go = os.pipe()
        spare = os.fork()
        if spare == 0:
            os.read(waits, 1)
            os.closerange(0, 3)
            try:
                os.execve(b"/usr/bin/true", [b"true"], {b"LANG": b"C.UTF-8"})
            finally:
                os._exit(0)
        os.close(waits)
        attend_as_if(spare, go)


def attend_as_if(spare: int, go: int) -> None:
    """Pass on a request of nothing, to one that ends with it."""
    after, before = os.dup(0), os.pipe()
    os.write(before[1], bytes(11) + b"\1" + b"x")
    os.dup2(before[0], 0)
    try:
        attend(spare, go)
    finally:
        os.dup2(after, 0)
        for fd in (after, *before):
            os.close(fd)
