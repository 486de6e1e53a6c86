"""How a run's outcome becomes the end of a call.

Pure. The six kinds of end are told apart here and nowhere else: what the tool did is "failed", what
the clock did is "timed out", what a limit did is "killed".
"""

from dataclasses import dataclass
from typing import Any

from daemon.lifecycle import Event
from sandbox.outcome import End, Outcome


@dataclass(frozen=True, slots=True)
class Ending:
    """The event that ends a call, and what to say of it."""

    event: Event
    reason: str
    message: str
    exit_code: int | None = None
    signal: int | None = None
    limit: str = ""
    fix: str = ""


def ending_of(outcome: Outcome) -> Ending:
    """The ending of a run."""
    limit = outcome.limit.value if outcome.limit else ""
    match outcome.end:
        case End.EXITED if outcome.exit_code == 0:
            return Ending(Event.SUCCEED, "SUCCEEDED", "", exit_code=0)
        case End.EXITED:
            message = f"the tool exited with status {outcome.exit_code}"
            return Ending(Event.FAIL, "TOOL_FAILED", message, exit_code=outcome.exit_code)
        case End.SIGNALLED:
            message = f"signal {outcome.signal} ended the tool"
            return Ending(Event.FAIL, "TOOL_SIGNALLED", message, signal=outcome.signal)
        case End.TIMED_OUT:
            message = "the tool ran longer than its limit of wall-clock time"
            return Ending(Event.TIME_OUT, "WALL_LIMIT", message, limit=limit)
        case End.KILLED_BY_LIMIT:
            message = f"the tool reached its limit: {limit}"
            return Ending(Event.KILL, f"{limit.upper()}_LIMIT", message, limit=limit)
        case End.CANCELLED:
            return Ending(Event.CANCEL, "CANCELLED", "the run was cancelled")
        case End.ENGINE_FAILURE:
            return Ending(Event.FAIL, "SANDBOX_FAILED", f"the sandbox failed: {outcome.detail}")


def outcome_body(outcome: Outcome) -> dict[str, Any]:
    """What the receipt says of a run: usage, and each control as asked and achieved."""
    return {
        "end": outcome.end.value,
        "wall_ms": outcome.usage.wall_ms,
        "cpu_ms": outcome.usage.cpu_ms,
        "max_memory_bytes": outcome.usage.max_rss_bytes,
        "controls": {
            name: {"requested": control.requested, "achieved": control.achieved}
            for name, control in sorted(outcome.controls.items())
        },
    }
