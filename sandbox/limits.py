"""The limits of a run, validated once, at construction.

Refuses zero, negative, absurd and non-numeric values with `SpecRefusedError`; a limit that was not
asked for does not exist, so there is no value meaning "unlimited".
"""

import math
from dataclasses import dataclass, fields

from sandbox.errors import SpecRefusedError

_KIB, _MIB, _TIB = 2**10, 2**20, 2**40
_WEEK = 7 * 24 * 3600

# Lower bounds are what the sandbox itself needs to start; upper bounds are where a number is a
# mistake rather than a wish.
_BOUNDS: dict[str, tuple[float, float]] = {
    "wall_seconds": (0.01, _WEEK),
    "cpu_seconds": (0.01, 64 * _WEEK),
    "memory_bytes": (8 * _MIB, 16 * _TIB),
    "pids": (1, 32_768),
    "output_bytes": (1, _TIB),
    "file_size_bytes": (4 * _KIB, 16 * _TIB),
    "open_files": (16, 1_048_576),
    "tmp_bytes": (4 * _KIB, _TIB),
}


@dataclass(frozen=True, slots=True)
class Limits:
    """Every limit of one run; all are required.

    `cpu_seconds` and `memory_bytes` are meant for the whole tree, `pids` counts processes and
    threads of the tool, `output_bytes` both streams together, `file_size_bytes` each file,
    `open_files` each process, `tmp_bytes` each of /tmp and /dev/shm.
    """

    wall_seconds: float
    cpu_seconds: float
    memory_bytes: int
    pids: int
    output_bytes: int
    file_size_bytes: int
    open_files: int
    tmp_bytes: int

    def __post_init__(self) -> None:
        for field in fields(self):
            _check(field.name, getattr(self, field.name))


def socket_bytes(memory_bytes: int) -> int:
    """What sockets may hold where that is an account of its own, besides a run's memory.

    It also counts to what all sockets of the host may hold, of which the daemon's are some.
    """
    return max(memory_bytes // 16, _MIB)


def _check(name: str, value: object) -> None:
    wants = (int, float) if name.endswith("_seconds") else (int,)
    # bool is an int to Python; True pids is a mistake.
    if isinstance(value, bool) or not isinstance(value, wants):
        raise SpecRefusedError("LIMIT_NOT_A_NUMBER", f"{name} is not a number", "give a number")
    low, high = _BOUNDS[name]
    if not math.isfinite(value) or not low <= value <= high:
        raise SpecRefusedError(
            "LIMIT_OUT_OF_RANGE",
            f"{name} must be between {low:g} and {high:g}",
            "choose a limit in that range",
        )
