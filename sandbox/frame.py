"""The request that a waiting launcher reads from its standard input.

Pure: a spec in, bytes out; `launcher.request` is the reader. It is the only place where arguments,
environment and secrets of a run in a container exist outside the daemon, so the caller wipes it.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from resource import RLIMIT_NICE, RLIMIT_NPROC, RLIMIT_RTPRIO

from sandbox.limits import Limits
from sandbox.outcome import LimitName
from sandbox.rlimits import rlimits
from sandbox.spec import RunSpec

Field = bytes | bytearray | memoryview

# What the launcher itself is started with, and hence the only way Python can be run in place.
PYTHON = ("/usr/bin/python3", "-I", "-S", "-X", "utf8")


def runs_in_place(argv: Sequence[str]) -> bool:
    """Whether a waiting interpreter can run this itself, with nothing noticing."""
    rest = argv[len(PYTHON) :]
    if tuple(argv[: len(PYTHON)]) != PYTHON or not rest:
        return False
    return len(rest) > 1 if rest[0] == "-c" else not rest[0].startswith("-")


def build(
    spec: RunSpec,
    program: str,
    elsewhere: frozenset[LimitName],
    *,
    gvisor: bool,
    own_streams: bool = False,
) -> bytearray:
    """All but the input. `elsewhere` has the limits that control groups enforce.

    `own_streams`: what the tool writes goes to the launcher's own pipes, not to the engine's.
    """
    in_place = spec.python and not spec.image and runs_in_place(spec.argv)
    kind = b"python" if in_place else b"run"
    fields: tuple[list[Field], ...] = (
        [kind, _raw(spec.cwd), _raw(program)],
        [_limit(*one) for one in _limits(spec.limits, elsewhere, gvisor).items()],
        [*chain.from_iterable((_raw(path), file) for path, file in spec.secret_files.items())],
        [_raw(word) for word in spec.argv],
        _environment(spec),
    )
    # Made once at its full length: what grows leaves behind what it held.
    body = bytearray().join(chain.from_iterable(map(_put, fields)))
    head = (beginning(spec), _size(own_streams), _size(len(body)))
    whole = bytearray().join((*head, body))
    for scrap in (body, *fields[-1]):
        if isinstance(scrap, bytearray):
            scrap[:] = bytes(len(scrap))
    return whole


def beginning(spec: RunSpec) -> bytes:
    """What the frame of `spec` begins with: how long the input is, which says nothing to do yet."""
    return _size(len(spec.stdin))


def _put(fields: Sequence[Field]) -> Iterator[Field]:
    yield _size(len(fields))
    for field in fields:
        yield _size(memoryview(field).nbytes)
        yield field


def _size(count: int) -> bytes:
    return count.to_bytes(4, "big")


def _environment(spec: RunSpec) -> list[Field]:
    out: list[Field] = [_raw(f"{name}={value}") for name, value in spec.env.items()]
    for name, secret in spec.secret_env.items():
        out.append(bytearray().join((_raw(name), b"=", secret)))
    return out


def _limits(
    limits: Limits, elsewhere: frozenset[LimitName], gvisor: bool
) -> Mapping[int, tuple[int, int]]:
    found = dict(rlimits(limits, elsewhere))
    # RLIMIT_NPROC counts a user, and every container's user is the same on this host; in gVisor it
    # counts the guests of one sandbox, the launcher's two among them.
    found.pop(RLIMIT_NPROC, None)
    if gvisor:
        found[RLIMIT_NPROC] = (limits.pids + 1, limits.pids + 1)
        # Its guests have no say in how the host schedules; it refuses to set these.
        found.pop(RLIMIT_NICE, None)
        found.pop(RLIMIT_RTPRIO, None)
    return found


def _limit(name: int, pair: tuple[int, int]) -> bytes:
    return b"%d:%d:%d" % (name, *pair)


def _raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
