"""What runs may have: workspaces, sandboxes, engines, and bounds on calls."""

from typing import Annotated, Literal

from pydantic import Field, field_validator

from daemon.config.section import Section
from sandbox.engines import ESCAPES
from sandbox.protected import DEFAULT_NAMES, check_names

_RUNTIME = r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$"

WorkspaceName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]


class Workspace(Section):
    """A directory that tools may be given; as many as you like."""

    path: str = Field(
        pattern=r"^/", description="Absolute path of a directory. Only what is in it is mounted."
    )
    access: Literal["read", "write"] = Field(
        default="read", description='"read" or "write": the most that any tool gets.'
    )
    protected: tuple[str, ...] = Field(
        default=DEFAULT_NAMES,
        strict=False,
        description=(
            "Files and folders in it that stay as they are, also where they do not exist, whatever"
            " a tool may write. What git would run is protected besides, whatever stands here."
        ),
    )

    @field_validator("protected")
    @classmethod
    def _names(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return check_names(names)


class SandboxSection(Section):
    """Sandboxes, whatever their tier."""

    required_tiers: tuple[Literal["process", "container", "gvisor"], ...] = Field(
        default=("process",),
        strict=False,
        description=(
            "Tiers without which the daemon says of itself that it does not serve (to gRPC health"
            " checks, `stockade status` and monitoring). Calls for other tiers go on."
        ),
    )
    require_cgroups: bool = Field(
        default=False,
        description=(
            "Whether the process tier is out of use where the daemon cannot write control groups."
            " Without them it bounds memory and processor time by rlimits and by looking at the"
            " tree, and says so. The container tiers always need them."
        ),
    )
    give_way_seconds: float = Field(
        default=0.1,
        ge=0.01,
        le=86400,
        description=(
            "A run that has used so much processor time lets everybody else go first from then on,"
            " where the daemon can write control groups; `stockade doctor` says by what."
        ),
    )
    refuse_known_escapes: bool = Field(
        default=False,
        description=(
            "Whether a tier is out of use while what it is made of (bubblewrap, dockerd, runc,"
            " runsc) has a published escape; `stockade doctor` names them either way."
        ),
    )
    accepted_escapes: tuple[str, ...] = Field(
        default=(),
        strict=False,
        description=(
            "Published escapes that you looked into and found closed, or without consequence here,"
            ' by id: ["CVE-2025-31133"]. Neither named nor refused.'
        ),
    )

    @field_validator("accepted_escapes")
    @classmethod
    def _ids(cls, ids: tuple[str, ...]) -> tuple[str, ...]:
        known = {escape.id for escape in ESCAPES}
        for one in ids:
            if one not in known:
                raise ValueError(f"{one!r:.40} is none of {', '.join(sorted(known))}")
        return ids


class Ready(Section):
    """Sandboxes started before they are needed. Each is used once; what is kept is learned."""

    per_profile: int = Field(
        default=4,
        ge=0,
        le=256,
        description=(
            "The most that wait for one profile: a tool's mounts and limits. 0 starts none ahead."
        ),
    )
    total: int = Field(default=16, ge=0, le=4096, description="The most that wait in one tier.")
    starts: int = Field(
        default=1, ge=1, le=64, description="The most that are started ahead at one time."
    )
    idle_seconds: int = Field(
        default=120,
        ge=1,
        le=86400,
        description="A profile that nobody asked for this long has none waiting any more.",
    )


class Containers(Section):
    """Docker Engine, which the container and gVisor tiers run on. Its socket is as good as root."""

    socket: str = Field(
        default="/var/run/docker.sock",
        pattern=r"^/[^\x00]{0,100}$",
        description="Where Docker Engine listens: an absolute path.",
    )
    runtime: str = Field(
        default="runc",
        pattern=_RUNTIME,
        description="The engine's runtime for the container tier.",
    )
    gvisor_runtime: str = Field(
        default="runsc",
        pattern=_RUNTIME,
        description="The engine's runtime for the gVisor tier: runsc, by the name it has there.",
    )
    per_profile: int = Field(
        default=2,
        ge=0,
        le=64,
        description=(
            "The most containers that wait for one profile: a tool's image, mounts and limits. 0"
            " starts none ahead."
        ),
    )
    total: int = Field(
        default=8, ge=0, le=1024, description="The most that wait in one of the two tiers."
    )
    starts: int = Field(
        default=2, ge=1, le=64, description="The most that one tier starts at one time."
    )
    idle_seconds: int = Field(
        default=300,
        ge=1,
        le=86400,
        description="A profile that nobody asked for this long has none waiting any more.",
    )


class Calls(Section):
    """Bounds on calls."""

    max_running: int = Field(
        default=32,
        ge=1,
        le=4096,
        description="Runs at one time; further permitted calls wait their turn.",
    )
    rest_seconds: float = Field(
        default=0.1,
        ge=0,
        le=60,
        description=(
            "A tool that a limit has killed rests so long for its caller before the next run of it,"
            " twice as long each time up to sixteen times, until one ends otherwise. 0: not at all."
        ),
    )
    max_open: int = Field(
        default=20000,
        ge=1,
        le=1_000_000,
        description=(
            "Calls that have not ended, waiting ones included. A device with its agents has no more"
            " than three quarters of what the others leave."
        ),
    )
    max_open_mib: int = Field(
        default=256,
        ge=1,
        le=65536,
        description=(
            "Arguments of all calls that have not ended, in memory. Shared in the same way, but"
            " the first call of a device may have all that is free."
        ),
    )
    retain_output_kib: int = Field(
        default=1024,
        ge=16,
        le=65536,
        description="Output of one call kept in memory for watchers that join or lag.",
    )
