"""How often somebody may ask: token buckets, each for one kind of thing.

Pure but for the clock that is passed in. A bucket holds `burst` tokens at most and gains
`per_second`; a request takes one or is refused with the time until there is one (`TooOften`).
Buckets that are full again say nothing and are forgotten: memory is bounded by who asked lately,
and by a number beyond which newcomers are refused.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from daemon.errors import Exhausted


class Kind(Enum):
    """What is counted apart."""

    CALL = "calls"
    ADMINISTRATION = "administration"
    PAIRING = "attempts to pair"
    ARGUMENTS = "KiB of arguments"


@dataclass(frozen=True, slots=True)
class Rate:
    """So many a second on the long run, so many at once."""

    per_second: float
    burst: int


class TooOften(Exhausted):
    """A principal asked more often than it may; `retry_seconds` says when to come back."""

    code = "RATE_LIMITED"

    def __init__(self, kind: Kind, rate: Rate, retry_seconds: float) -> None:
        super().__init__(
            f"more {kind.value} than {rate.per_second:g} a second (and {rate.burst} at once)",
            fix=f"wait {retry_seconds:.3f} s; the limits are under [rates] in config.toml",
            retry_seconds=retry_seconds,
        )


@dataclass(slots=True)
class _Bucket:
    tokens: float
    filled_at: float


class Rates:
    """The buckets of all principals."""

    # Beyond so many, those that are full again are dropped; beyond the other, nobody new comes.
    _TIDY_AT = 4096
    MOST = 65_536

    def __init__(self, rates: dict[Kind, Rate], seconds: Callable[[], float]) -> None:
        self._rates = rates
        self._seconds = seconds
        self._buckets: dict[tuple[str, Kind], _Bucket] = {}
        self._tidy_at = self._TIDY_AT

    def take(self, principal: str, kind: Kind, cost: float = 1) -> None:
        """One request of a principal, or what it costs; raises `TooOften`."""
        rate, now = self._rates[kind], self._seconds()
        bucket = self._buckets.get((principal, kind))
        if bucket is None:
            self._tidy(now)
            if len(self._buckets) >= self.MOST:
                raise TooOften(kind, rate, 1 / rate.per_second)
            bucket = self._buckets[principal, kind] = _Bucket(rate.burst, now)
        gained = max(0.0, now - bucket.filled_at) * rate.per_second
        bucket.tokens = min(rate.burst, bucket.tokens + gained)
        bucket.filled_at = now
        if bucket.tokens < cost:
            raise TooOften(kind, rate, (cost - bucket.tokens) / rate.per_second)
        bucket.tokens -= cost

    def _tidy(self, now: float) -> None:
        if len(self._buckets) < self._tidy_at:
            return
        self._buckets = {
            key: bucket
            for key, bucket in self._buckets.items()
            if bucket.tokens + (now - bucket.filled_at) * self._rates[key[1]].per_second
            < self._rates[key[1]].burst
        }
        # Not at every newcomer, if they are all still in use.
        self._tidy_at = max(self._TIDY_AT, min(2 * len(self._buckets), self.MOST))
