"""`approvals watch` over a real SSH session: the same screen, the same keys, and its end."""

import fcntl
import grp
import os
import pwd
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from stockade.v1 import approval_pb2
from tests.pane import Pane
from tests.running import free_port, make_directory
from tests.stockade.at_desk import COMMAND, GRACE, ready
from tests.stockade.serving import Daemon, World, statement

SSHD = "/usr/sbin/sshd"
# Where a server that is root keeps the one without rights; a booted system has it.
EMPTY = Path("/run/sshd")


def gives_terminals() -> bool:
    """Whether a server of this user's may: one that is not root changes no terminal's group."""
    ends = os.openpty()
    try:
        return os.geteuid() == 0 or os.fstat(ends[1]).st_gid == grp.getgrnam("tty").gr_gid
    finally:
        for end in ends:
            os.close(end)


pytestmark = pytest.mark.skipif(
    not gives_terminals(), reason="terminals here are not of the group tty: only root gives them it"
)


@dataclass
class Server:
    """A server of the test's own user's, with keys that nobody has afterwards."""

    folder: Path
    port: int
    process: "subprocess.Popen[bytes]"

    def command(self, *remote: str) -> list[str]:
        """What logs in and has a terminal there."""
        options = {
            "IdentityFile": self.folder / "user",
            "UserKnownHostsFile": self.folder / "known",
            "IdentitiesOnly": "yes",
            "BatchMode": "yes",
            "LogLevel": "ERROR",
        }
        given = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
        user = pwd.getpwuid(os.geteuid()).pw_name
        login = ["-tt", "-p", str(self.port), f"{user}@127.0.0.1"]
        return ["ssh", "-F", "none", *given, *login, *remote]


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    folder = make_directory("stockade-ssh-")
    with empty_folder():
        yield from _made(folder)


@contextmanager
def empty_folder() -> Iterator[None]:
    """What a server of root's wants, for as long as a run of these tests needs it."""
    if os.geteuid() != 0:
        yield
        return
    made = not EMPTY.exists()
    EMPTY.mkdir(mode=0o755, exist_ok=True)
    held = os.open(EMPTY, os.O_RDONLY)
    try:
        fcntl.flock(held, fcntl.LOCK_SH)
        yield
        if made:
            with suppress(BlockingIOError):  # another run has it
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                EMPTY.rmdir()
    finally:
        os.close(held)


def _made(folder: Path) -> Iterator[Server]:
    try:
        for name in ("host", "user"):
            make = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / name)]
            subprocess.run(make, check=True, stdin=subprocess.DEVNULL)
        port = free_port()
        public = (folder / "host.pub").read_text().split()
        (folder / "known").write_text(f"[127.0.0.1]:{port} {public[0]} {public[1]}\n")
        yield from _serving(folder, port)
    finally:
        shutil.rmtree(folder)


def _serving(folder: Path, port: int) -> Iterator[Server]:
    options = {
        "ListenAddress": f"127.0.0.1:{port}",
        "HostKey": folder / "host",
        "AuthorizedKeysFile": folder / "user.pub",
        "PidFile": "none",
        "UsePAM": "no",
        "StrictModes": "no",
        "PasswordAuthentication": "no",
        "PermitRootLogin": "prohibit-password",
        "PrintMotd": "no",
        "PrintLastLog": "no",
        "Subsystem": "none /bin/false",
    }
    given = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([SSHD, "-D", "-e", "-f", "/dev/null", *given], stderr=log)
    try:
        deadline = time.monotonic() + 90
        while not _answers(port):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield Server(folder, port, process)
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as one:
            return one.recv(4) == b"SSH-"
    except OSError:
        return False


def watching(server: Server, daemon: Daemon, **size: int) -> Pane:
    """A terminal here, with the screen of a program there."""
    variables = [f"STOCKADE_HOME={daemon.home.config}", f"PYTHONPATH={Path.cwd()}"]
    program = ["env", *variables, sys.executable, "-c", f"'{COMMAND}'", "approvals", "watch"]
    return Pane(server.command(*program), {}, **size)


def test_keys_answer_over_ssh(server: Server, daemon: Daemon, world: World) -> None:
    """All of the prompt, a window that changes its size, a paste and a burst that answer nothing,
    and one key that does; afterwards the terminal is as it was.
    """
    world.add(statement(1, {"command": "make  clean", "note": "a\x1b[2J\u202eb"}))
    with watching(server, daemon) as pane:
        shown = ready(pane, "$ make  clean", "1 waits")
        assert "␛[2J" in shown
        assert all(len(line) <= 80 for line in shown.splitlines())
        pane.resize(100, 30)
        pane.expect("─" * 100)
        time.sleep(GRACE + 0.2)
        pane.paste("a")
        pane.expect("a paste: no answer")
        time.sleep(GRACE)
        pane.write("aa")
        time.sleep(GRACE)
        assert world.requests == []
        pane.press_until("a", "yes, once", "nothing waits for you")
        pane.press("q")
        assert pane.ended() == 0
        assert "files.write for builder: yes, once" in pane.screen(scrolled=True)
    [request] = world.requests
    assert (type(request), request.approve) == (approval_pb2.AnswerApprovalRequest, True)


def test_a_line_that_is_cut_answers_nothing(server: Server, daemon: Daemon, world: World) -> None:
    """The connection is gone in the middle: the watch there ends, and what waits still waits."""
    world.add(statement(1))
    with watching(server, daemon) as pane:
        ready(pane)
        there = []
        for one in psutil.Process(server.process.pid).children(recursive=True):
            with suppress(psutil.Error):  # one of those of a login, which end by themselves
                there += [one] if "watch" in one.cmdline() else []
        assert there
        psutil.Process(pane.pid).kill()
        _, alive = psutil.wait_procs(there, timeout=90)
        assert not alive
    assert world.requests == []
