"""The request that a waiting launcher reads from its standard input.

Pure: a spec in, bytes out; `launcher.request` is the reader. It is the only place where arguments,
environment and secrets of a run in a container exist outside the daemon, so the caller wipes it.
"""

from collections.abc import Iterable, Mapping, Sequence
from resource import RLIMIT_NICE, RLIMIT_NPROC, RLIMIT_RTPRIO

from sandbox.limits import Limits
from sandbox.outcome import LimitName
from sandbox.rlimits import rlimits
from sandbox.spec import RunSpec

# What the launcher itself is started with, and hence the only way Python can be run in place.
PYTHON = ("/usr/bin/python3", "-I", "-S", "-X", "utf8")


def runs_in_place(argv: Sequence[str]) -> bool:
    """Whether a waiting interpreter can run this itself, with nothing noticing."""
    rest = argv[len(PYTHON) :]
    if tuple(argv[: len(PYTHON)]) != PYTHON or not rest:
        return False
    return len(rest) > 1 if rest[0] == "-c" else not rest[0].startswith("-")


def build(
    spec: RunSpec, program: str, elsewhere: frozenset[LimitName], *, gvisor: bool
) -> bytearray:
    """The whole frame. `elsewhere` has the limits that control groups enforce."""
    in_place = spec.python and not spec.image and runs_in_place(spec.argv)
    kind = b"python" if in_place else b"run"
    files: list[bytes | bytearray | memoryview] = []
    for path, content in spec.secret_files.items():
        files += [_raw(path), content]
    body = bytearray()
    _put(body, [kind, _raw(spec.cwd), _raw(program)])
    _put(body, [_limit(*one) for one in _limits(spec.limits, elsewhere, gvisor).items()])
    _put(body, files)
    _put(body, [_raw(word) for word in spec.argv])
    _put(body, _environment(spec))
    return bytearray(len(body).to_bytes(4, "big")) + body


def _put(body: bytearray, fields: Iterable[bytes | bytearray | memoryview]) -> None:
    whole = list(fields)
    body += len(whole).to_bytes(4, "big")
    for field in whole:
        body += memoryview(field).nbytes.to_bytes(4, "big")
        body += field


def _environment(spec: RunSpec) -> list[bytes | bytearray]:
    out: list[bytes | bytearray] = [_raw(f"{name}={value}") for name, value in spec.env.items()]
    for name, secret in spec.secret_env.items():
        out.append(bytearray(_raw(name) + b"=") + secret)
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
