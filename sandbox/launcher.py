"""What a container starts: it waits for one request, carries it out once, and reports the end.

Standalone: sent as text, after its other parts (`container_start` names them), to the interpreter
inside, so it imports nothing of ours. Its first process is the container's init and stays the
daemon's: out of the tool's reach (not dumpable, deaf to kill). It takes the request and the tool's
input; when the tool has ended it kills and reaps what is left, and only then says how it ended,
under a number the tool does not know. Its child reads the request from a pipe, becomes the tool (by
execve or, for Python that is run in place, by running it), and has the input on that pipe. While
they wait, both go the way of a request once: a page that is touched for the first time costs, in
gVisor as much as ten system calls.

Standard input is the only way in, and open for as long as the daemon wants the run: its end is the
end of everything here. So a daemon that dies leaves nothing running, and no tool is given half of
its input: nothing is passed on before all of it is there.

`frame` writes the request: the input's length, whether the daemon reads our own pipes, and its own
length, then lists of fields, with all numbers in 4 bytes, big-endian. The input follows.
"""

import gc
import mmap
import os
import resource
import signal
import sys
import time

LINGER_SECONDS = 30  # so long the daemon may look at what the run used; without a daemon, the end
SCRATCH = ("/tmp", "/dev/shm")  # noqa: S108 - this container's own
LOOK_MILLISECONDS = 500
SPARE, SEEN = map(int, sys.argv[1:3])  # address spaces; whether the host sees our pipes
HEAD = 12

MYPY = False
if MYPY:  # this comes after it, in one text
    from sandbox.in_place import run_python
    from sandbox.own_streams import CHUNK, make_pipes, widen, write_to
    from sandbox.rehearsal import make_spare, quiet, rehearse


def exactly(count: int) -> bytes:
    """So many bytes of standard input; no request any more is the end."""
    parts = []
    while count:
        part = os.read(0, count)
        if not part:
            os._exit(0)
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def request() -> tuple[bool, list[list[bytes]]]:
    """All of it, before any of it is acted on; before that, whose streams the tool's are."""
    head = exactly(8)
    body, at = exactly(int.from_bytes(head[4:], "big")), 0
    lists: list[list[bytes]] = []
    while at < len(body):
        count, at = int.from_bytes(body[at : at + 4], "big"), at + 4
        lists.append([])
        for _ in range(count):
            size, at = int.from_bytes(body[at : at + 4], "big"), at + 4
            lists[-1].append(body[at : at + size])
            at += size
    return any(head[:4]), lists


def write(files: list[bytes]) -> None:
    """Secret files, onto a tmpfs, for the tool alone."""
    for at in range(0, len(files), 2):
        path, content = files[at : at + 2]
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
        while content:
            content = content[os.write(fd, content) :]
        os.close(fd)


def expendable() -> None:
    """Where memory is short the kernel takes the tool, not the init that tells of it."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
    except OSError:
        pass


def hard_limits() -> dict[int, int]:
    """Those we are under. They are asked for beforehand: nobody raises them while we wait."""
    found = {}
    for name in range(16):
        try:
            found[name] = resource.getrlimit(name)[1]
        except (OSError, ValueError):
            pass
    return found


def bound(limits: list[bytes]) -> None:
    """The limits of each process of the tool, which inherit them."""
    for limit in limits:
        name, *wanted = (int(part) for part in limit.split(b":"))
        hard = HARD.get(name, resource.RLIM_INFINITY)
        if hard != resource.RLIM_INFINITY:  # only privilege could raise it
            wanted = [min(each, hard) for each in wanted]
        try:
            resource.setrlimit(name, (wanted[0], wanted[1]))
        except ValueError as error:
            raise PermissionError(1, str(error)) from None


def without_fchmodat2() -> None:
    """The one way to a set-user-id file that libseccomp before 2.5.5 has no name for."""
    import ctypes
    import struct

    steps = (
        (0x20, 0, 0, 0),  # the call's number; no other architecture's comes as far as this
        (0x15, 0, 1, 452),
        (0x06, 0, 0, 0x0005_0026),  # ENOSYS
        (0x06, 0, 0, 0x7FFF_0000),  # allowed
    )
    program = b"".join(struct.pack("HBBI", *step) for step in steps)
    held = ctypes.create_string_buffer(program)
    told = struct.pack("HP", len(steps), ctypes.addressof(held))
    if ctypes.CDLL(None).prctl(22, 2, told, 0, 0):  # PR_SET_SECCOMP, SECCOMP_MODE_FILTER
        os._exit(126)


def become(program: bytes, argv: list[bytes], environment: dict[bytes, bytes]) -> None:
    """Run the tool in the place of this process; comes back only by an error."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores both, and that is inherited
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    names = [program]
    if b"/" not in program:
        places = environment.get(b"PATH", b"/bin:/usr/bin").split(b":")
        names = [place + b"/" + program for place in places if place[:1] == b"/"]
    for name in names:
        try:
            os.execve(name, argv, environment)
        except (FileNotFoundError, NotADirectoryError):
            continue
    raise FileNotFoundError(2, "no such program")


def tool() -> None:
    """One request, carried out."""
    own, kind, program, argv, environment = prepared()
    write_to(own)
    if kind == b"run":
        try:
            become(program, argv, environment)
        except OSError as error:
            fail(b"program", error)
    TROUBLE.close()
    os.environb.clear()
    os.environb.update(environment)
    time.tzset()
    run_python(argv)


def prepared() -> tuple[bool, bytes, bytes, list[bytes], dict[bytes, bytes]]:
    """A request, with everything done but its last steps."""
    own, ((kind, cwd, program), limits, files, argv, pairs) = request()
    environment = dict(pair.split(b"=", 1) for pair in pairs)
    step = b"files"
    try:
        write(files)
        step = b"cwd"
        os.chdir(cwd)
        step = b"limits"
        bound(limits)
    except OSError as error:
        fail(step, error)
    return own, kind, program, argv, environment


def fail(step: bytes, error: OSError) -> None:
    """The tool cannot start: say why, and end."""
    TROUBLE.write(b"no-%s %d" % (step, error.errno or 0))
    os._exit(127)


def attend(child: int, pipe: int) -> int | None:
    """Pass on what comes, once all of it is there, until the tool has ended: its status.

    None if the daemon is gone, and nobody else would ever end it.
    """
    wake, woken = WAKE
    for end in (wake, woken, pipe):
        os.set_blocking(end, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    waiting = select.poll()
    waiting.register(0, select.POLLIN)
    waiting.register(wake, select.POLLIN)
    came, look = bytearray(), None
    while True:
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == child:
                return ended[1]
        # gVisor lets the tool read our descriptors, so that we could sleep through its end.
        for fd, _ in waiting.poll(look):
            if fd == pipe:
                pass_on(came, pipe, waiting)
            elif fd == wake:
                woke(wake)
            elif not (part := os.read(0, CHUNK)):
                return None
            else:
                came += part
                if whole(came):
                    del came[:4]
                    write_to(own=any(came[:4]))
                    look = LOOK_MILLISECONDS
                    widen(pipe, len(came))
                    waiting.register(pipe, select.POLLOUT)


def woke(wake: int) -> None:
    """Take what woke us, unless the tool has."""
    try:
        os.read(wake, CHUNK)
    except BlockingIOError:
        pass


def whole(came: bytearray) -> bool:
    """Whether the request and the input are there."""
    told = int.from_bytes(came[:4], "big") + int.from_bytes(came[8:HEAD], "big")
    return len(came) >= HEAD and len(came) - HEAD == told


def pass_on(data: bytearray, pipe: int, waiting: "select.poll") -> None:
    """Give the child what the pipe takes; all of it, or a reader that is gone, is the end of it."""
    try:
        while data:
            del data[: os.write(pipe, data[:CHUNK])]
    except BlockingIOError:
        return
    except BrokenPipeError:
        data.clear()
    waiting.unregister(pipe)
    os.close(pipe)


def end_all() -> None:
    """Nothing is left in here but us."""
    while True:
        try:
            os.kill(-1, signal.SIGKILL)
        except ProcessLookupError:
            pass
        try:
            os.wait()
        except ChildProcessError:
            return


def report(status: int, trouble: bytes) -> bytes:
    """How the tool ended, once nothing of it is left."""
    seen = [os.statvfs(place) for place in SCRATCH]
    full = b"full" if any(s.f_bavail == 0 or s.f_files > s.f_ffree == 0 for s in seen) else b"free"
    if trouble:
        return trouble + b" " + full
    if os.WIFSIGNALED(status):
        return b"signal %d %s" % (os.WTERMSIG(status), full)
    return b"exit %d %s" % (os.WEXITSTATUS(status), full)


TROUBLE = mmap.mmap(-1, 64)  # shared; no descriptor that a tool could say anything by
KNOWN = set(sys.modules)
import select  # noqa: E402 - to be forgotten again by the child

# What is there by now stays. A collection would write to all of it.
gc.freeze()
HARD = hard_limits()
OUT, INTO = os.pipe()
PLACES = make_pipes() if SEEN else b""
CHILD = os.fork()
if CHILD == 0:
    os.close(INTO)
    os.dup2(OUT, 0)
    os.close(OUT)
    os.setsid()
    OURS = sys.modules["__main__"]  # kept: these functions' names are in it
    expendable()
    if SEEN:  # gVisor's own kernel has no such call
        without_fchmodat2()
    if quiet():
        rehearse()
    # The tool finds the modules that any Python has.
    for NAME in set(sys.modules) - KNOWN:
        del sys.modules[NAME]
    tool()
else:
    import ctypes

    os.close(OUT)
    WAKE = os.pipe()
    # None that the kernel or gVisor may bring an init, for whatever reason, ends it.
    for NUMBER in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD}:
        signal.signal(NUMBER, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE: our memory is not the tool's to read
    NONCE = os.urandom(16).hex().encode()
    os.write(1, b"ready %s%s\n" % (NONCE, PLACES))
    if quiet():
        make_spare()
        report(0, b"")
    STATUS = attend(CHILD, INTO)
    end_all()
    if STATUS is not None:
        END = report(STATUS, TROUBLE[:].rstrip(b"\0"))
        for STREAM in (1, 2):
            os.set_blocking(STREAM, True)  # the tool shares it, and may have changed that
            os.write(STREAM, b"%s %s\n" % (NONCE, END))
        LINGER = select.poll()
        LINGER.register(0, select.POLLIN)
        LINGER.poll(LINGER_SECONDS * 1000)
