"""One thing that `stockade doctor` looked at. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. A warning is ok, and has a fix all the same."""

    what: str
    ok: bool
    message: str
    fix: str = ""
    warning: bool = False

    @property
    def mark(self) -> str:
        """What stands before it."""
        if not self.ok:
            return "BAD"
        return "WARN" if self.warning else "ok"
