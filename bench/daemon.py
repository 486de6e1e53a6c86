"""A real daemon to measure: its own home, started as a person would start it.

The home lies in /var/tmp, which is a disk where /tmp often is memory: an fsync must cost what it
costs. Nothing of the daemon runs in the process that measures it.
"""

import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from bench.sampling import StepError
from stockade.client import Client
from stockade.credentials import Credentials, certificate_request, make_key, save_credentials
from stockade.home import Home
from stockade.pairing import pair
from stockade.v1 import call_pb2, tool_pb2

STOCKADED = Path(sys.executable).parent / "stockaded"
STORAGE = Path("/var/tmp")  # noqa: S108 - made private below
SECONDS = 60

TOOL = "bench_true"
WORKSPACE = "docs"
_MANIFEST = f"""\
name = "{TOOL}"
version = "1.0.0"
summary = "Do nothing, successfully."
toolset = "local"
argv = ["/bin/true"]
[input]
type = "object"
[risk]
data_sensitivity = 0.0
"""


def make_directory() -> Path:
    """A directory on disk that the user tools run as can pass through."""
    path = Path(tempfile.mkdtemp(prefix="stockade-bench-", dir=STORAGE))
    path.chmod(0o711)
    return path


class RunningDaemon:
    """One home and the daemon on it."""

    def __init__(self, settings: str = "") -> None:
        self._settings = settings  # sections of its configuration besides the usual ones
        self.root = make_directory()
        self.home = Home.under(self.root)
        self._process: subprocess.Popen[bytes] | None = None
        try:
            self._init()
        except BaseException:
            self.remove()
            raise

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Starts it; returns when it serves."""
        ready, theirs = os.pipe()
        with (self.root / "stderr.log").open("ab") as log:
            self._process = subprocess.Popen(
                [STOCKADED, "serve", "--ready-fd", str(theirs)],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[theirs],
            )
        os.close(theirs)
        with os.fdopen(ready, "rb") as pipe:
            if pipe.read() != b"ready\n":
                raise RuntimeError((self.root / "stderr.log").read_text(errors="replace"))

    def stop(self) -> None:
        """Ends it."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def remove(self) -> None:
        """Ends it and takes its home away."""
        self.stop()
        shutil.rmtree(self.root, ignore_errors=True)

    def client(self) -> Client:
        """A client as the local device, which is an owner."""
        return Client.open(self.home, by_socket=False)  # as a device elsewhere would

    def add_tool(self) -> None:
        """Adds the tool that runs /bin/true; the default policy lets an owner call it unasked."""
        file = tool_pb2.AddToolRequest.File(path="manifest.toml", content=_MANIFEST.encode())
        with self.client() as client:
            client.add_tool([file])

    def pair_device(self, name: str, groups: Sequence[str]) -> Home:
        """Pairs another device over the wire; the home with its credentials."""
        home = Home.under(self.root / name)
        with self.client() as owner:
            events = iter(owner.invite_device(name, groups))
            code = next(events).opened
            waits = threading.Thread(
                target=pair, args=(code.pairing_code, home.client), kwargs={"waiting": _nothing}
            )
            waits.start()
            words = next(events).waiting.words
            owner.confirm_pairing(code.invitation_id, words, accept=True)
            for _ in events:
                pass
            waits.join(SECONDS)
        return home

    def run(self, *arguments: str) -> None:
        """The command line, as this home's user would type it."""
        command = [str(STOCKADED.with_name("stockade")), *arguments]
        subprocess.run(
            command, env=self._environment(), check=True, capture_output=True, timeout=SECONDS
        )

    def resident_bytes(self) -> int:
        """VmRSS of its process."""
        return self._status("VmRSS:")

    def processor_seconds(self) -> float:
        """What its threads have run so far."""
        clock = ctypes.c_int()
        if ctypes.CDLL(None).clock_getcpuclockid(self.pid, ctypes.byref(clock)):
            raise ProcessLookupError(self.pid)
        return time.clock_gettime(clock.value)

    def own_bytes(self) -> int:
        """Its memory without pages of files, such as code, which come and go."""
        return self._status("RssAnon:")

    def _status(self, name: str) -> int:
        status = Path(f"/proc/{self.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith(name))
        return int(line.split()[1]) * 1024

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "STOCKADE_HOME": str(self.root)}

    def _init(self) -> None:
        work = self.root / "workspace"
        work.mkdir(mode=0o755)
        self.home.config_file.write_text(
            '[server]\nlisten = "127.0.0.1:0"\ndrain_seconds = 1\n[vault]\nroot = "file"\n'
            # One device stands for many here.
            "[rates]\ncalls_per_second = 100000\ncalls_burst = 100000\n"
            "arguments_kib_per_second = 1000000\narguments_kib_burst = 1000000\n"
            "administration_per_second = 100000\nadministration_burst = 100000\n"
            f'[workspaces.{WORKSPACE}]\npath = "{work.resolve()}"\naccess = "read"\n'
            + self._settings
        )
        key = make_key()
        request, certificate, authority = (self.root / name for name in ("csr", "pem", "ca"))
        request.write_bytes(certificate_request(key))
        command: list[str | Path] = [STOCKADED, "init", "--certificate-request", request]
        command += ["--certificate-out", certificate, "--authority-out", authority]
        done = subprocess.run(
            command, env=self._environment(), check=True, capture_output=True, timeout=SECONDS
        )
        device_id = json.loads(done.stdout)["device_id"]
        issued = (certificate.read_bytes(), authority.read_bytes())
        save_credentials(self.home.client, Credentials(device_id, "local", None, key, *issued))


def finish(
    client: Client, tool: str, arguments: dict[str, object], state: "call_pb2.CallState.ValueType"
) -> call_pb2.CallEvent.Finished:
    """Makes a call and reads it to its end, which has to be `state`."""
    last = call_pb2.CallEvent()
    for event in client.call(tool, arguments):
        last = event
    if last.finished.state != state:
        raise StepError(last.finished.reason or "no end")
    return last.finished


def _nothing(_words: str) -> None:
    """The words are confirmed by whoever asked for the pairing: the same process."""
