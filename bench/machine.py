"""Where and with what was measured: a figure without it says nothing."""

import os
import platform
import sqlite3
import subprocess
from importlib.metadata import version
from pathlib import Path

from bench.daemon import STORAGE

ROOT = Path(__file__).resolve().parent.parent
_PACKAGES = (
    *("stockade", "cedarpy", "grpcio", "protobuf", "cryptography", "pynacl"),
    *("sqlalchemy", "orjson", "anyio", "pydantic"),
)


def machine() -> dict[str, object]:
    """Processor, memory, system, the file system written to, and how busy it was already."""
    return {
        "cpu": _field(Path("/proc/cpuinfo"), "model name"),
        "cores": os.cpu_count(),
        "memory_mb": int(_field(Path("/proc/meminfo"), "MemTotal").split()[0]) * 1024 // 10**6,
        "kernel": platform.release(),
        "system": platform.freedesktop_os_release().get("PRETTY_NAME", ""),
        "storage": f"{STORAGE} on {_file_system(STORAGE)}",
        "user": "root" if os.geteuid() == 0 else "not root",
        "load_before": round(os.getloadavg()[0], 2),
    }


def versions() -> dict[str, str]:
    """What was measured, and what it stands on."""
    found = {name: version(name) for name in _PACKAGES}
    found |= {"python": platform.python_version(), "sqlite": sqlite3.sqlite_version}
    return found | {"bubblewrap": _output("bwrap", "--version").removeprefix("bubblewrap ")}


def commit() -> str:
    """The commit, and whether the files were it."""
    head = _output("git", "-C", str(ROOT), "rev-parse", "HEAD")
    changed = _output("git", "-C", str(ROOT), "status", "--porcelain", "--untracked-files=no")
    return head + ("-dirty" if changed else "")


def _field(path: Path, name: str) -> str:
    for line in path.read_text().splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return "0"


def _file_system(path: Path) -> str:
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    places = {mount[1]: mount[2] for mount in mounts}
    above = [str(path), *(str(parent) for parent in path.parents)]
    return next((places[place] for place in above if place in places), "unknown")


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return done.stdout.strip() or ("unknown" if done.returncode else "")
