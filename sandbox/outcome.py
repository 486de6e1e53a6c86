"""What became of a run, as values: how it ended, what it used, which controls really held.

Pure. Nothing here is computed from the tool's own claims: ends and usage come from the kernel
or from bubblewrap's status, digests from the bytes that were delivered.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NewType

OutputDigest = NewType("OutputDigest", str)
"""`sha256:` and the hex digest of the bytes of one stream that were delivered to the sink."""


class End(Enum):
    """The ends of a run. Never confused: a limit is not a failure, a clock is not a limit."""

    EXITED = "exited"
    SIGNALLED = "signalled"
    TIMED_OUT = "timed_out"
    KILLED_BY_LIMIT = "killed_by_limit"
    CANCELLED = "cancelled"
    ENGINE_FAILURE = "engine_failure"


class LimitName(Enum):
    """The limits that can end a run."""

    WALL = "wall"
    CPU = "cpu"
    MEMORY = "memory"
    PIDS = "pids"
    OUTPUT = "output"
    FILE_SIZE = "file_size"
    DISK = "disk"


@dataclass(frozen=True, slots=True)
class Control:
    """One control: what was asked for, and by which mechanism it was achieved.

    `achieved` is the empty string when nothing enforces it on this host.
    """

    requested: str
    achieved: str


@dataclass(frozen=True, slots=True)
class Usage:
    """What the run used. `None` means it was not measured, which is not the same as nothing."""

    wall_ms: int
    cpu_ms: int | None
    max_rss_bytes: int | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    `exit_code` is set for EXITED only, `signal` for SIGNALLED only, `limit` for KILLED_BY_LIMIT
    and TIMED_OUT. `detail` is for people; it holds no output of the tool, except for
    ENGINE_FAILURE, where it holds what the engine said on standard error.
    """

    end: End
    exit_code: int | None
    signal: int | None
    limit: LimitName | None
    usage: Usage
    controls: Mapping[str, Control]
    stdout_digest: OutputDigest
    stderr_digest: OutputDigest
    stdout_bytes: int
    stderr_bytes: int
    detail: str
