"""Promise 10, without a network to dial: the daemon in a namespace that has loopback and no more.

Whatever it would ask of the world would fail here, and is seen besides: strace is its tracer from
before its first instruction, over every process that it starts.
"""

import ipaddress
import os
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.promises.acting import working_tiers
from tests.promises.test_10_dialling import _ADDRESS, of_probe
from tests.running import CONFIG, WITH_ENGINES, RunningDaemon, make_directory
from tests.sandbox.conftest import why_not

STRACE, UNSHARE, NSENTER = (shutil.which(name) for name in ("strace", "unshare", "nsenter"))
# What is said in a second of idleness is said for ever.
IDLE_SECONDS = 5

# Brings loopback up, has a tracer attached that holds none of its descriptors (the daemon says that
# it is ready by closing one), and becomes the daemon.
ALONE = """\
import fcntl, os, socket, struct, sys, time
strace, trace, *program = sys.argv[1:]
with socket.socket() as s:
    fcntl.ioctl(s, 0x8914, struct.pack("16sh", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
daemon = str(os.getpid())
if os.fork() == 0:
    os.closerange(3, 1000)
    os.execv(strace, [strace, "-f", "-qq", "-Y", "-s", "0", "-o", trace,
                      "-e", "trace=connect,sendto,sendmsg,sendmmsg", "-p", daemon])
while "TracerPid:\t0" in open("/proc/self/status").read():
    time.sleep(0.02)
os.execv(program[0], program)
"""
_CALL = re.compile(r"^\d+<([^>]*)> +(connect|sendto|sendmsg|sendmmsg)\(")
_UNIX = re.compile(r'sun_path=(@?"[^"]*")')

# Programs of Go's ask for the name of their user, when they are asked for their version.
ENGINES = ("dockerd", "docker", "containerd", "runc", "runsc")

# Python in a container, everything else wherever it may.
UNATTENDED = """\
@id("alone") permit (principal, action == Action::"call_unattended", resource);
@id("python-in-a-container")
forbid (principal, action == Action::"run_in_process", resource == Tool::"run_python");
"""

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not (STRACE and UNSHARE and NSENTER),
    reason="needs root, strace and util-linux: a network namespace is made",
)


@dataclass
class Alone:
    """A daemon alone with its loopback, and what was seen of it."""

    daemon: RunningDaemon
    trace: Path
    with_engine: bool

    def cli(self, *arguments: str) -> str:
        """The command line, in the same namespace; what it printed."""
        done = subprocess.run(
            [
                *(str(NSENTER), f"--net=/proc/{self.daemon.pid}/ns/net"),
                *(str(Path(sys.executable).parent / "stockade"), *arguments),
            ],
            env=self.daemon.environ(),
            capture_output=True,
            text=True,
            timeout=400,
            check=False,
        )
        assert done.returncode == 0, done.stderr + self.daemon.log
        return done.stdout

    @property
    def lines(self) -> list[str]:
        """Every connect and every datagram."""
        return [line for line in self.trace.read_text().splitlines() if _CALL.match(line)]


@pytest.fixture(scope="module")
def alone() -> Iterator[Alone]:
    """Its whole life: start, calls in the tiers there are, ledger, metrics, idleness, end."""
    root = make_directory("stockade-alone-")
    trace = root / "trace"
    wrapper = (str(UNSHARE), "--net", sys.executable, "-I", "-c", ALONE, str(STRACE), str(trace))
    with_engine = not why_not("container")
    config = (WITH_ENGINES if with_engine else CONFIG) + '[metrics]\nlisten = "127.0.0.1:0"\n'
    daemon = RunningDaemon(root, config, wrapper=wrapper)
    try:
        made = Alone(daemon.start(), trace, with_engine)
        _live(made)
        daemon.stop()
        yield made
    finally:
        daemon.stop()
        shutil.rmtree(root, ignore_errors=True)


def _live(made: Alone) -> None:
    policy = made.daemon.home.policies / "alone.cedar"
    policy.write_text(UNATTENDED)
    made.cli("policy", "apply")
    assert made.cli("call", "run_shell", "--arg", "command=echo here") == "here\n"
    if made.with_engine:
        with made.daemon.client() as client:
            working_tiers(client)
        said = made.cli("call", "run_python", "--arg", "code=print('here')", "--json")
        assert '"tier": "container"' in said
    made.cli("ledger", "checkpoint")
    made.cli("ledger", "export", str(made.daemon.root / "ledger.jsonl"))
    time.sleep(IDLE_SECONDS)


def addresses(line: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    return [ipaddress.ip_address(one[1] or one[2]) for one in _ADDRESS.finditer(line)]


def test_it_does_everything_without_a_network(alone: Alone) -> None:
    """Start, call, checkpoint, export and end in a namespace in which nobody can be reached."""
    assert "daemon.ready" in alone.daemon.log
    assert "daemon.stopped" in alone.daemon.log
    assert '"event": "rpc.defect"' not in alone.daemon.log


def test_it_tries_no_address_but_its_own(alone: Alone) -> None:
    """No connect and no datagram to any address outside loopback, not even one that fails."""
    outside = [
        line
        for line in alone.lines
        if not all(one.is_loopback or one.is_unspecified for one in addresses(line))
        and not of_probe(line)
    ]
    assert outside == []


def test_it_asks_nobody_for_names(alone: Alone) -> None:
    """No DNS query, and none by way of a local service that would ask for it."""
    assert [line for line in alone.lines if re.search(r"port=htons\((53|853|5353)\)", line)] == []
    resolvers = ("nscd", "resolve", "avahi", "dbus", "sssd")
    assert [path for path in unix_sockets(alone) if any(one in path for one in resolvers)] == []


def test_it_speaks_to_the_sockets_that_are_known(alone: Alone) -> None:
    """Of Unix sockets: the engine's, where it is used, and its own, by their places."""
    known = ("docker.sock", str(alone.daemon.root), "/run/stockade/", "/proc/self/fd/", "stockade-")
    assert [path for path in unix_sockets(alone) if not any(one in path for one in known)] == []


def unix_sockets(alone: Alone) -> list[str]:
    """Paths that were connected to, or sent to, by anybody but the engines' own programs."""
    found = set()
    for line in alone.lines:
        call = _CALL.match(line)
        if call is not None and call[1] not in ENGINES:
            found |= {match[1] for match in _UNIX.finditer(line)}
    return sorted(found)


def test_the_trace_saw_it_all(alone: Alone) -> None:
    """The daemon's own answers and its engine are in it, so that nothing in it proves something."""
    calls = Counter(match[2] for line in alone.lines if (match := _CALL.match(line)))
    assert calls["sendmsg"] + calls["sendto"] > 0
    # What the probe tries from within a sandbox is a connect like any that would be found.
    assert any(of_probe(line) for line in alone.lines)
    if alone.with_engine:
        assert any("docker.sock" in path for path in unix_sockets(alone))
