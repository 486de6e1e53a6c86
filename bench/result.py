"""What a measurement comes to: a name, a unit, how many, and percentiles over all of them.

Percentiles are by nearest rank, so each is a figure that was really measured. Of a rate they count
from the worse end as well: 99 of 100 windows reached at least the p99.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from bench.sampling import Samples

UNITS: Mapping[str, float] = {"s": 1.0, "ms": 1e3, "us": 1e6, "x": 1.0}
_DIGITS = 4


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the report. `beside` names the result that ran interleaved with this one."""

    name: str
    unit: str
    n: int
    p50: float
    p90: float
    p99: float
    value: float | None = None
    beside: str | None = None
    failed: Mapping[str, int] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """The contract's form; what there is not is left out."""
        out: dict[str, object] = {"name": self.name, "unit": self.unit, "n": self.n}
        out |= {key: _rounded(getattr(self, key)) for key in ("p50", "p90", "p99")}
        if self.value is not None:
            out["value"] = _rounded(self.value)
        if self.beside is not None:
            out["beside"] = self.beside
        if self.failed:
            out["failed"] = dict(self.failed)
        return out


def percentile(figures: Sequence[float], percent: int) -> float:
    """The smallest figure that `percent` of all are not above."""
    if not figures:
        raise ValueError("there is no percentile of nothing")
    return sorted(figures)[max(1, math.ceil(len(figures) * percent / 100)) - 1]


def timing(name: str, unit: str, samples: Samples, *, beside: str | None = None) -> Result:
    """How long something takes."""
    scaled = [seconds * UNITS[unit] for seconds in samples.seconds]
    return distribution(name, unit, scaled, beside=beside, failed=samples.failed)


def distribution(
    name: str,
    unit: str,
    figures: Sequence[float],
    *,
    beside: str | None = None,
    failed: Mapping[str, int] | None = None,
) -> Result:
    """Figures of which less is better."""
    p50, p90, p99 = (percentile(figures, percent) for percent in (50, 90, 99))
    return Result(name, unit, len(figures), p50, p90, p99, beside=beside, failed=failed or {})


def rate(
    name: str,
    unit: str,
    figures: Iterable[float],
    *,
    value: float | None = None,
    beside: str | None = None,
    failed: Mapping[str, int] | None = None,
) -> Result:
    """Figures of which more is better; `value` is the rate over all, if not the median."""
    turned = [-figure for figure in figures]
    p50, p90, p99 = (-percentile(turned, percent) for percent in (50, 90, 99))
    over_all = p50 if value is None else value
    return Result(name, unit, len(turned), p50, p90, p99, over_all, beside, failed or {})


def _rounded(figure: float) -> float:
    """Four significant digits: more would be noise."""
    return float(f"{figure:.{_DIGITS}g}")
