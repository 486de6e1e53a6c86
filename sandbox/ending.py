"""How a run ended, together with what was seen of it: its outcome, the same in every tier. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from sandbox.outcome import Control, End, LimitName, Outcome, Usage
from sandbox.streams import Output


@dataclass(frozen=True, slots=True)
class Ending:
    """How it ended: exactly one of the numbers where the tool ended by itself, else neither."""

    end: End
    limit: LimitName | None = None
    detail: str = ""
    exit_code: int | None = None
    signal: int | None = None


class Seen(Protocol):
    """What somebody who watched a run has seen of it."""

    output: Output
    cut_short: bool
    wall_seconds: float
    cpu_seconds: float | None
    peak_memory: int | None


def outcome(ending: Ending, seen: Seen, controls: Mapping[str, Control]) -> Outcome:
    """The outcome of a run that was watched to its end."""
    detail = ending.detail
    if seen.cut_short:
        detail = "; ".join(filter(None, (detail, "output cut short, its reader was too slow")))
    out, err = seen.output.tallies["stdout"], seen.output.tallies["stderr"]
    cpu = seen.cpu_seconds
    return Outcome(
        end=ending.end,
        exit_code=ending.exit_code,
        signal=ending.signal,
        limit=ending.limit,
        usage=Usage(
            wall_ms=round(seen.wall_seconds * 1000),
            cpu_ms=None if cpu is None else round(cpu * 1000),
            max_rss_bytes=seen.peak_memory,
        ),
        controls=controls,
        stdout_digest=out.digest,
        stderr_digest=err.digest,
        stdout_bytes=out.count,
        stderr_bytes=err.count,
        detail=detail,
    )
