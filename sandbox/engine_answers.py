"""What an engine's answers mean, as far as the tiers need it.

Pure. An answer that is none raises what comes of it, whatever that is: who asks is told one kind of
error (`docker_engine`).
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_GO_DIRECTORY = 1 << 31  # of Go's os.FileMode


@dataclass(frozen=True, slots=True)
class Engine:
    """What an engine says of itself, as far as controls depend on it."""

    version: str
    runtimes: Mapping[str, str]  # the program of each, by its name; empty where it is no program
    cgroup_version: str
    limits_memory: bool
    limits_swap: bool
    limits_pids: bool
    user_namespaces: bool


@dataclass(frozen=True, slots=True)
class Known:
    """A container that is there."""

    container: str
    name: str
    running: bool


@dataclass(frozen=True, slots=True)
class Ended:
    """What the engine knows of a container's end."""

    running: bool
    out_of_memory: bool
    exit_code: int
    error: str


@dataclass(frozen=True, slots=True)
class Seen:
    """A path in an image, its last part not followed where that is a link."""

    there: bool
    is_directory: bool = False


def engine(found: Mapping[str, Any]) -> Engine:
    """Of `info`."""
    runtimes: Mapping[str, Any] = found.get("Runtimes") or {}
    return Engine(
        version=str(found.get("ServerVersion", "")),
        runtimes={str(name): str((one or {}).get("path") or "") for name, one in runtimes.items()},
        cgroup_version=str(found.get("CgroupVersion") or "1"),
        limits_memory=bool(found.get("MemoryLimit")),
        limits_swap=bool(found.get("SwapLimit")),
        limits_pids=bool(found.get("PidsLimit")),
        user_namespaces=any("userns" in one for one in found.get("SecurityOptions") or ()),
    )


def known(one: Mapping[str, Any]) -> Known:
    """Of a list of containers."""
    return Known(str(one["Id"]), "".join(one["Names"]).strip("/"), one.get("State") == "running")


def ended(state: Mapping[str, Any]) -> Ended:
    """Of the state of one."""
    return Ended(
        running=bool(state["Running"]),
        out_of_memory=bool(state["OOMKilled"]),
        exit_code=int(state["ExitCode"]),
        error=str(state["Error"]),
    )


def seen(header: str) -> Seen:
    """Of what is told of a path that is there."""
    mode = int(json.loads(base64.b64decode(header))["mode"])
    return Seen(there=True, is_directory=bool(mode & _GO_DIRECTORY))
