"""Which version of each engine is installed here, and as which package.

Asks the programs themselves and reads dpkg's records; changes nothing. What is not there, or says
nothing that can be read, is left out. Raises nothing.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread

from sandbox import spawn, streams
from sandbox.descriptors import Descriptors
from sandbox.engines.escapes import ESCAPES, Escape

_SECONDS = 5.0
_DPKG = Path("/var/lib/dpkg")


@dataclass(frozen=True, slots=True)
class _Program:
    paths: tuple[str, ...]
    packages: tuple[str, ...]
    version: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class Engine:
    """One that is installed. `package_version` is empty if it came otherwise."""

    name: str
    version: str
    package_version: str = ""

    def escapes(self, accepted: Sequence[str] = ()) -> tuple[Escape, ...]:
        """The published escapes this version has, but those the operator has looked into."""
        return tuple(
            one
            for one in ESCAPES
            if one.engine == self.name
            and one.id not in accepted
            and one.is_in(self.version, self.package_version)
        )


_NUMBER = r"(\d[0-9A-Za-z.+~-]*)"
_PROGRAMS: Mapping[str, _Program] = {
    "bubblewrap": _Program(
        ("/usr/bin/bwrap",), ("bubblewrap",), re.compile(rf"bubblewrap {_NUMBER}")
    ),
    "dockerd": _Program(
        ("/usr/sbin/dockerd", "/usr/bin/dockerd"),
        ("docker.io", "docker-ce"),
        re.compile(rf"Docker version {_NUMBER}"),
    ),
    "runc": _Program(
        ("/usr/sbin/runc", "/usr/bin/runc", "/usr/local/sbin/runc"),
        ("runc", "containerd.io"),
        re.compile(rf"runc version {_NUMBER}"),
    ),
    "runsc": _Program(
        ("/usr/bin/runsc", "/usr/local/bin/runsc"),
        ("runsc",),
        # By the day of its making, with or without what packagers put before it.
        re.compile(r"runsc version (?:release-|0\.0~)?(\d{8}\.\d+)"),
    ),
}
ENGINES_OF: Mapping[str, tuple[str, ...]] = {
    "process": ("bubblewrap",),
    "container": ("dockerd", "runc"),
    "gvisor": ("dockerd", "runsc"),
}


async def look(tier: str) -> tuple[Engine, ...]:
    """What this tier is made of here."""
    found = []
    for name in ENGINES_OF.get(tier, ()):
        program = _PROGRAMS[name]
        path = next((path for path in program.paths if os.access(path, os.X_OK)), None)
        said = program.version.search(await _ask(path)) if path else None
        if path and said:
            package = await anyio.to_thread.run_sync(_package, path, program.packages)
            found.append(Engine(name, said[1].replace("-rc.", "~rc"), package))
    return tuple(found)


async def _ask(path: str) -> str:
    """What it says of itself, within bounds."""
    said = b""
    with Descriptors() as fds:
        read, write = fds.pipe()
        null = fds.lift(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))
        os.set_blocking(read, False)
        try:
            child = spawn.spawn([path, "--version"], (null, write, write))
        except OSError:
            return ""
        fds.own(child.pidfd)
        fds.close(write)
        with anyio.move_on_after(_SECONDS):
            while len(said) < 4096 and (part := await streams.read(read, 4096)):
                said += part
            await anyio.wait_readable(child.pidfd)
        with anyio.CancelScope(shield=True):
            spawn.kill(child.pidfd)
            await anyio.wait_readable(child.pidfd)
            spawn.reap(child.pidfd)
    return said.decode("utf-8", "replace")


def _package(path: str, names: Sequence[str]) -> str:
    """The version of the package that this file came with."""
    for name in names:
        try:
            files = (_DPKG / "info" / f"{name}.list").read_text("utf-8", "replace").splitlines()
            if path not in files and path.replace("/usr", "", 1) not in files:
                continue
            status = (_DPKG / "status").read_text("utf-8", "replace")
        except OSError:
            continue
        stanza = re.search(
            rf"^Package: {re.escape(name)}$(.*?)^$", status, re.DOTALL | re.MULTILINE
        )
        version = re.search(r"^Version: (\S+)$", stanza[1], re.MULTILINE) if stanza else None
        if version:
            return version[1]
    return ""
