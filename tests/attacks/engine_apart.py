"""A Docker Engine of a test's own, beside the machine's: to be killed, restarted and filled up."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from sandbox.docker_engine import INSTANCE_LABEL, DockerEngine, EngineError
from sandbox.engine_answers import Known
from tests.host import of_each_process
from tests.promises.acting import until
from tests.running import WITH_ENGINES, make_directory

ARGUMENTS = ["--platform=systrap", "--host-uds=open", "--network=none", "--oci-seccomp"]
START_SECONDS = 120


@dataclass
class EngineApart:
    """One dockerd with a directory of its own."""

    root: Path
    process: "subprocess.Popen[bytes] | None" = None
    api: DockerEngine = field(init=False)

    def __post_init__(self) -> None:
        self.api = DockerEngine(str(self.socket))

    @property
    def socket(self) -> Path:
        """Where it is asked."""
        return self.root / "docker.sock"

    @property
    def data(self) -> Path:
        """Where it keeps what it keeps: a file system of 128 MiB."""
        return self.root / "data"

    @property
    def config(self) -> str:
        """The configuration of a daemon that uses it."""
        return f'{WITH_ENGINES}[containers]\nsocket = "{self.socket}"\n'

    @property
    def runsc(self) -> Path:
        """Where it finds runsc: a name of its own, which can be taken away."""
        return self.root / "runsc"

    def start(self, *wrapper: str) -> "EngineApart":
        """Starts it, by another program or not, and waits until it answers."""
        self.runsc.unlink(missing_ok=True)
        self.runsc.symlink_to(shutil.which("runsc") or "/nonexistent/runsc")
        runsc = {"path": str(self.runsc), "runtimeArgs": ARGUMENTS}
        settings = self.root / "daemon.json"
        settings.write_text(json.dumps({"runtimes": {"runsc": runsc}}))
        words = [f"--config-file={settings}", f"--host=unix://{self.socket}"]
        words += [f"--data-root={self.data}", f"--exec-root={self.root}/run"]
        words += [f"--pidfile={self.root}/pid", "--bridge=none"]
        words += ["--iptables=false", "--ip6tables=false"]
        with (self.root / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [*wrapper, "dockerd", *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
            )
        assert until(self.answers, START_SECONDS), (self.root / "log").read_text()[-2000:]
        return self

    def answers(self) -> bool:
        """Whether it can be asked."""
        try:
            # First: where nobody answers the SDK leaves its socket to the collector.
            with socket.socket(socket.AF_UNIX) as knocking:
                knocking.connect(str(self.socket))
            return bool(self.api.info().version)
        except (OSError, EngineError):
            return False

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Ends it, in order or not."""
        if self.process is not None:
            self.process.send_signal(how)
            self.process.wait(START_SECONDS)
            self.process = None

    def known(self, instance: str) -> list[Known]:
        """The containers it has of one daemon."""
        return list(self.api.containers({INSTANCE_LABEL: instance}))

    def volumes(self, instance: str) -> list[str]:
        """The volumes it has of one daemon."""
        return list(self.api.volumes({INSTANCE_LABEL: instance}))


@contextmanager
def engine_apart(*wrapper: str) -> Iterator[EngineApart]:
    """An engine for as long as the context lasts; skipped where one cannot be started."""
    if os.geteuid() != 0 or shutil.which("dockerd") is None:
        pytest.skip("a Docker Engine of its own takes root and dockerd")
    made = EngineApart(make_directory("stockade-engine-"))
    made.data.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=128m", "tmpfs", str(made.data)]
    subprocess.run(command, check=True)
    try:
        yield made.start(*wrapper)
    finally:
        made.api.close()
        made.stop()
        _kill_what_is_left(made.root)
        for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
            if (place := line.split()[1]).startswith(str(made.root)):
                subprocess.run(["umount", "-l", place], check=False)
        shutil.rmtree(made.root, ignore_errors=True)


def _kill_what_is_left(root: Path) -> None:
    """An engine that was killed has left shims and sandboxes, which nobody else would end."""
    for pid, line in of_each_process("cmdline").items():
        if str(root).encode() in line:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
