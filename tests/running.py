"""A real daemon in a home of its own, started as a person would, for the tests that need one.

`RunningDaemon.start` runs `stockaded init` and `stockaded serve` as child processes; nothing of the
daemon is in the test's process. The home lies where the user that tools run as (when the tests are
root) can search the way to it, which a pytest tmp_path is not.
"""

import contextlib
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from stockade.client import Client
from stockade.credentials import Credentials, certificate_request, make_key, save_credentials
from stockade.home import Home
from stockade.pairing import pair
from stockade.trees import remove_tree
from stockade.v1 import call_pb2, device_pb2

STOCKADED = Path(sys.executable).parent / "stockaded"
STOCKADE = Path(sys.executable).parent / "stockade"
# A machine that does much else may take this long.
START_SECONDS = 180
STOP_SECONDS = 120

CONFIG = """\
[server]
listen = "127.0.0.1:0"
drain_seconds = 1
[containers]
socket = "/nonexistent/docker.sock"
[vault]
root = "file"
[log]
format = "json"
level = "debug"
"""
# Looking at the container tiers starts containers: a few seconds of two cores, for each daemon.
WITH_ENGINES = CONFIG.replace('[containers]\nsocket = "/nonexistent/docker.sock"\n', "")


def make_directory(prefix: str = "stockade-test-") -> Path:
    """A directory that every user may search, and only this one may list."""
    path = Path(tempfile.mkdtemp(prefix=prefix, dir="/tmp"))
    path.chmod(0o711)
    return path


def remove_directory(path: Path) -> None:
    """All of it: also copies of tools, in folders that nobody may write to."""
    remove_tree(path, ignore_errors=True)


def free_port() -> int:
    """A port of the loopback for a server that is to find it free a while later, and again.

    Not of those that the kernel gives out: other tests hold thousands of them at a time.
    """
    while True:
        port = secrets.randbelow(10_000) + 20_000
        with socket.socket() as tried, contextlib.suppress(OSError):
            tried.bind(("127.0.0.1", port))
            return port


@dataclass
class RunningDaemon:
    """One home, and the daemon that may be running on it."""

    root: Path
    config: str = CONFIG
    environment: Mapping[str, str] = field(default_factory=dict)
    process: "subprocess.Popen[bytes] | None" = None
    initialised: bool = False
    wrapper: tuple[str, ...] = ()  # a program that the daemon is started by, as its own process

    @property
    def home(self) -> Home:
        """Where its files are."""
        return Home.under(self.root)

    @property
    def log(self) -> str:
        """What it has written to standard error so far."""
        path = self.root / "stderr.log"
        return path.read_text(errors="replace") if path.exists() else ""

    @property
    def address(self) -> str:
        """Where it listens."""
        return str(json.loads(self.home.endpoint.read_text())["address"])

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self.process is not None
        return self.process.pid

    @property
    def own_bytes(self) -> int:
        """What it holds in memory of its own: pages of files, such as code, come and go."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("RssAnon:"))
        return int(line.split()[1]) * 1024

    def environ(self) -> dict[str, str]:
        """The environment its processes get."""
        return {**os.environ, "STOCKADE_HOME": str(self.root), **self.environment}

    def init(self, *extra: str) -> "subprocess.CompletedProcess[str]":
        """`stockaded init` with a fresh local device; credentials are stored if it worked."""
        self.root.mkdir(exist_ok=True)
        if not self.home.config_file.exists():
            self.home.config_file.write_text(self.config)
        key = make_key()
        request = self.root / "local.csr"
        request.write_bytes(certificate_request(key))
        answer = subprocess.run(
            [
                STOCKADED,
                "init",
                f"--certificate-request={request}",
                f"--certificate-out={self.root / 'local.pem'}",
                f"--authority-out={self.root / 'authority.pem'}",
                "--device-name=local",
                *extra,
            ],
            env=self.environ(),
            capture_output=True,
            text=True,
            timeout=START_SECONDS,
            check=False,
        )
        if answer.returncode == 0:
            shutil.rmtree(self.home.client, ignore_errors=True)
            save_credentials(
                self.home.client,
                Credentials(
                    device_id=json.loads(answer.stdout)["device_id"],
                    name="local",
                    address=None,
                    key=key,
                    certificate=(self.root / "local.pem").read_bytes(),
                    authority=(self.root / "authority.pem").read_bytes(),
                ),
            )
            self.initialised = True
        return answer

    def start(self) -> "RunningDaemon":
        """Starts it and waits until it serves; its complaint is the assertion's text if not."""
        if not self.initialised:
            answer = self.init()
            assert answer.returncode == 0, answer.stderr
        ready, theirs = os.pipe()
        with (self.root / "stderr.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*self.wrapper, STOCKADED, "serve", "--ready-fd", str(theirs)],
                env=self.environ(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs],
            )
        os.close(theirs)
        with os.fdopen(ready, "rb") as pipe:
            said = pipe.read()
        assert said == b"ready\n", self.log
        return self

    def stop(self, how: int = signal.SIGTERM) -> int:
        """Ends it; its exit status."""
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(STOP_SECONDS)
        finally:
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()
            self.process = None

    def restart(self, how: int = signal.SIGTERM) -> "RunningDaemon":
        """Ends it and starts it again."""
        self.stop(how)
        return self.start()

    def client(self) -> Client:
        """A client as the local device (an owner)."""
        return Client.open(self.home)

    def pair_device(self, name: str, *groups: str) -> Home:
        """Pairs another device over the wire; the home that holds its credentials."""
        home = Home.under(self.root / f"device-{name}")
        with self.client() as owner:
            events = iter(owner.invite_device(name, groups))
            opened = next(events).opened
            paired: list[object] = []

            def device() -> None:
                paired.append(pair(opened.pairing_code, home.client, waiting=lambda _: None))

            thread = threading.Thread(target=device)
            thread.start()
            waiting = next(events).waiting
            owner.confirm_pairing(opened.invitation_id, waiting.words, accept=True)
            closed = [event.closed for event in events][-1]
            thread.join(START_SECONDS)
            assert closed.reason == "PAIRED"
            assert paired
        return home

    def descriptors(self) -> int:
        """How many it has open; skips where that is not told."""
        try:
            return len(os.listdir(f"/proc/{self.pid}/fd"))  # noqa: PTH208 - only how many
        except PermissionError:
            pytest.skip("what a process that keeps its memory to itself has open only root is told")

    def cli(self, *arguments: str, home: Home | None = None, stdin: str = "") -> "Answer":
        """Runs the command line as the local device, or as another's home."""
        environment = self.environ()
        if home is not None:
            environment["STOCKADE_HOME"] = str(home.config)
        done = subprocess.run(
            [STOCKADE, *arguments],
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    status: int
    out: str
    err: str

    def lines(self) -> "list[dict[str, object]]":
        """Its output as JSON lines."""
        return [json.loads(line) for line in self.out.splitlines()]


def finished(events: "list[call_pb2.CallEvent]") -> call_pb2.CallEvent.Finished:
    """The end of a call's events: there is exactly one, and it is the last."""
    ends = [event.finished for event in events if event.HasField("finished")]
    assert len(ends) == 1
    assert events[-1].HasField("finished")
    return ends[0]


def output(events: "list[call_pb2.CallEvent]") -> bytes:
    """What the tool wrote to standard output."""
    stdout = call_pb2.CallEvent.OutputChunk.STREAM_STDOUT
    return b"".join(
        event.output.data
        for event in events
        if event.HasField("output") and event.output.stream == stdout
    )


@contextlib.contextmanager
def running(config: str = CONFIG, **environment: str) -> Iterator[RunningDaemon]:
    """A daemon for as long as the context lasts; nothing of it is left afterwards."""
    daemon = RunningDaemon(make_directory(), config, environment)
    try:
        yield daemon.start()
    finally:
        daemon.stop()
        remove_directory(daemon.root)


def local_device(client: Client) -> device_pb2.Device:
    """The device of a client, as the daemon sees it."""
    return client.who_am_i().device


def key_pem(credentials: Credentials) -> bytes:
    """A device's private key, for tests that misuse it."""
    return credentials.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
