"""What a run that was started ahead is, and how it is told what to run.

In a sandbox of the right shape a shell waits for commands on its standard input. It gets two: the
environment, and `exec` of the program with the run's own standard input; after that nothing of the
shell is left. Everything travels through that pipe: no argument, variable or secret is in any
argument list before the program's own.

Trusted to write only what the shell takes literally. Refuses (with None: such a run starts cold)
whatever it could take otherwise, and every run that may write to the host or has secret files.
Pure, but for one look at which shell there is.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from sandbox.limits import Limits
from sandbox.spec import Mount, RunSpec, SecretBytes

# Descriptor of the run's standard input while the shell reads its commands from 0.
STDIN = 3
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
# Variables that mean something to the shell itself: not every value can be assigned to them.
_THE_SHELLS = frozenset({"ENV", "IFS", "LINENO", "OPTIND", "PPID", "PS1", "PS2", "PS4"})
_SHELLS = ("/bin/sh", "/bin/dash")


@dataclass(frozen=True, slots=True)
class Shape:
    """All of a run that is settled when its sandbox is built."""

    mounts: tuple[Mount, ...]
    limits: Limits
    hostname: str
    cwd: str


def shell() -> str | None:
    """The shell that waits: dash, by whatever name; others add to the environment."""
    for path in _SHELLS:
        if Path(path).resolve().name == "dash":
            return path
    return None


def shape_of(spec: RunSpec) -> Shape | None:
    """The shape a sandbox for `spec` has to have; None if this run has to start cold."""
    if spec.secret_files or any(mount.writable for mount in spec.mounts):
        return None
    names = (*spec.env, *spec.secret_env)
    if not all(_NAME.match(name) and name not in _THE_SHELLS for name in names):
        return None
    if not _found_alike(spec.argv[0], spec.env):
        return None
    return Shape(spec.mounts, spec.limits, spec.hostname, spec.cwd)


def _found_alike(program: str, env: Mapping[str, str]) -> bool:
    """Whether the shell finds the program where execvp(3) would."""
    if program.startswith("-"):
        return False
    return "/" in program or ("PATH" in env and "%" not in env["PATH"])


def waiting(shape: Shape, shell_path: str, run_id: str) -> RunSpec:
    """The run that waits: no argument, no variable but PWD, which bubblewrap sets anyway."""
    return RunSpec(
        argv=(shell_path,),
        env={"PWD": shape.cwd},
        stdin=b"",
        cwd=shape.cwd,
        hostname=shape.hostname,
        mounts=shape.mounts,
        secret_env={},
        secret_files={},
        limits=shape.limits,
        run_id=run_id,
    )


def commands(spec: RunSpec) -> bytearray:
    """What the waiting shell is told. The caller wipes it: it holds the secret variables.

    One compound command, which the shell reads to its end before it does any of it: half of it, if
    we die while we write, is no command at all.
    """
    parts: list[bytes | bytearray] = [b"{\n"]
    if "PWD" not in spec.env:
        parts.append(b"unset PWD\n")
    for name, value in spec.env.items():
        parts += _export(name, value.encode("utf-8", "surrogateescape"))
    secret = [_export(name, value) for name, value in spec.secret_env.items()]
    parts += chain.from_iterable(secret)
    parts.append(b"exec")
    for part in spec.argv:
        parts += (b" ", _quoted(part.encode("utf-8", "surrogateescape")))
    parts.append(b" <&%d %d<&-\n}\n" % (STDIN, STDIN))
    # Made once at its full length: what grows leaves behind what it held.
    told = bytearray().join(parts)
    for quoted in chain.from_iterable(secret):
        if isinstance(quoted, bytearray):
            quoted[:] = bytes(len(quoted))
    return told


def _export(name: str, value: SecretBytes) -> tuple[bytes, bytearray, bytes]:
    return b"export %b=" % name.encode(), _quoted(value), b"\n"


def _quoted(value: SecretBytes) -> bytearray:
    plain = bytearray(value)
    quoted = plain.replace(b"'", b"'\\''")
    whole = bytearray().join((b"'", quoted, b"'"))
    for scrap in (plain, quoted):
        scrap[:] = bytes(len(scrap))
    return whole
