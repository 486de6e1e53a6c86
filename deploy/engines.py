"""Sees to it that Docker Engine runs here, with gVisor as one of its runtimes. No dependencies.

Run by `make test`, `make demo` and `make bench` as whoever types them. An engine that runs is used
as it is. Where none runs and we are root: with systemd the service is started; without, `dockerd`
is, once for the machine, in a session of its own, writing to /var/log/dockerd.log; the next run
finds it. Whatever does not work is said and is no failure: the probe of the tier says it again.
"""

import fcntl
import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SOCKET = Path("/var/run/docker.sock")
SETTINGS = Path("/etc/docker/daemon.json")
LOG = Path("/var/log/dockerd.log")
LOCK = Path("/run/stockade-engines.lock")
SECONDS = 40

RUNTIME = "runsc"
# systrap: no KVM is needed. host-uds: a socket bound into a sandbox can be connected to, which is
# the door to the network; files of the host cannot be made into sockets by it. network=none: no
# sandbox has a network, and runsc of 2024 cannot set one up on current kernels. oci-seccomp: our
# filter inside, besides gVisor's own outside.
ARGUMENTS = ["--platform=systrap", "--host-uds=open", "--network=none", "--oci-seccomp"]
# Stockade's containers have no network, so an engine started for them leaves the host's alone.
ALONE = {"bridge": "none", "iptables": False, "ip6tables": False}


def main() -> int:
    """Always 0: what is missing is for the probe to judge."""
    if os.environ.get("STOCKADE_ENGINES") == "off":
        return 0
    with _alone():
        info = engine_info()
        if info is None and shutil.which("dockerd"):
            register(SETTINGS)
            _start()
            info = _wait()
        if info is not None and RUNTIME not in info.get("Runtimes", {}) and register(SETTINGS):
            _reload()
            info = _wait(RUNTIME) or info
    if info is None:
        print("Docker Engine does not run here; its tiers will be unavailable", file=sys.stderr)
    elif RUNTIME not in info.get("Runtimes", {}):
        print("Docker Engine has no runtime runsc; gVisor will be unavailable", file=sys.stderr)
    return 0


class _Connection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(5)
        self.sock.connect(str(SOCKET))


def engine_info() -> dict[str, Any] | None:
    """What the engine says of itself; None if there is none that we may ask."""
    connection = _Connection("localhost")
    try:
        connection.request("GET", "/info")
        answer = connection.getresponse()
        found = json.loads(answer.read())
    except (OSError, ValueError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    return found if answer.status == http.client.OK else None


def register(settings: Path) -> bool:
    """Adds the runtime to the engine's settings, leaving the rest; whether it could."""
    program = shutil.which("runsc")
    if program is None or os.geteuid() != 0:
        return False
    try:
        known = json.loads(settings.read_text()) if settings.exists() else {}
    except ValueError:
        print(f"{settings} is not JSON: it was left alone", file=sys.stderr)
        return False
    runtimes = known.setdefault("runtimes", {})
    if RUNTIME not in runtimes:
        runtimes[RUNTIME] = {"path": program, "runtimeArgs": ARGUMENTS}
        settings.parent.mkdir(parents=True, exist_ok=True)
        written = settings.with_suffix(".stockade")
        written.write_text(json.dumps(known, indent=2) + "\n")
        written.replace(settings)
    return True


def _start() -> None:
    if os.geteuid() != 0:
        return
    if Path("/run/systemd/system").is_dir():
        subprocess.run(["systemctl", "start", "docker"], check=False)
        return
    known = json.loads(SETTINGS.read_text()) if SETTINGS.exists() else {}
    flags = [f"--{name}={str(value).lower()}" for name, value in ALONE.items() if name not in known]
    print(f"starting dockerd; it writes to {LOG}")
    with LOG.open("ab") as log:
        subprocess.Popen(
            ["dockerd", *flags],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd="/",
            start_new_session=True,
        )


def _reload() -> None:
    """SIGHUP: dockerd reads its runtimes again, and containers go on."""
    pid = Path("/var/run/docker.pid")
    if Path("/run/systemd/system").is_dir():
        subprocess.run(["systemctl", "reload", "docker"], check=False)
    elif pid.exists():
        subprocess.run(["kill", "-HUP", pid.read_text().strip()], check=False)


def _wait(runtime: str = "") -> dict[str, Any] | None:
    """The engine's info, once it answers and knows the runtime."""
    end = time.monotonic() + (SECONDS if not runtime else 5)
    while time.monotonic() < end:
        info = engine_info()
        if info is not None and (not runtime or runtime in info.get("Runtimes", {})):
            return info
        time.sleep(0.2)
    return None


@contextmanager
def _alone() -> Iterator[None]:
    """Two that start at once start one engine."""
    if os.geteuid() != 0:
        yield
        return
    with LOCK.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    raise SystemExit(main())
