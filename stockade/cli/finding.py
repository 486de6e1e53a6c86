"""One thing that `stockade doctor` looked at, and what all of them come to. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from stockade.cli.terminal import many

_ORDER = ("BAD", "WARN", "ok")


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

    @property
    def to_do(self) -> str:
        """How to mend it; nothing where nothing is amiss."""
        return "" if self.mark == "ok" else self.fix


def verdict(findings: Sequence[Finding]) -> str:
    """All of them in one line."""
    bad = sum(not one.ok for one in findings)
    warned = sum(one.mark == "WARN" for one in findings)
    said = many(bad, "thing is wrong", "things are wrong") if bad else ""
    warnings = f"; {many(warned, 'warning')}" if warned else ""
    return (said or "nothing is wrong") + warnings


def grouped(findings: Sequence[Finding]) -> Iterator[Sequence[Finding]]:
    """The worst first; neighbours that are mended alike are together, to say it once."""
    ranked = sorted(findings, key=lambda one: _ORDER.index(one.mark))
    for _, alike in groupby(ranked, key=lambda one: (one.mark, one.what, one.to_do)):
        yield tuple(alike)
