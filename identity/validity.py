"""Time as certificates know it: whole seconds of UTC, with a little room for slow clocks.

Trusted to refuse a time without a zone (TIME_WITHOUT_ZONE), which would otherwise be read as
local time and shift every expiry by hours. The clock itself is the caller's.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, final

from identity.errors import Code, IdentityError, RequestError

SKEW: Final = timedelta(minutes=2)  # a peer's clock may be this much behind ours
MAX_LIFETIME: Final = timedelta(days=366)


@final
@dataclass(frozen=True, slots=True)
class Validity:
    """From when until when, both ends included (RFC 5280 4.1.2.5)."""

    not_before: datetime
    not_after: datetime

    def covers(self, now: datetime) -> bool:
        """Tell whether `now` is inside."""
        return self.not_before <= in_utc(now) <= self.not_after


def in_utc(now: datetime) -> datetime:
    """Return the same instant in UTC."""
    if now.tzinfo is None or now.utcoffset() is None:
        raise IdentityError(
            Code.TIME_WITHOUT_ZONE, "a time was given without a zone", "use an aware datetime"
        )
    return now.astimezone(UTC)


def leaf_validity(now: datetime, lifetime: timedelta, within: Validity) -> Validity:
    """Choose the validity of a certificate issued now; it never reaches outside its issuer's."""
    if not timedelta(0) < lifetime <= MAX_LIFETIME:
        raise RequestError(
            Code.LIFETIME_OUT_OF_RANGE,
            f"a lifetime of {lifetime} is not between nothing and {MAX_LIFETIME.days} days",
            "set a shorter lifetime; certificates are renewed in time",
        )
    second = in_utc(now).replace(microsecond=0)
    end = (second + lifetime).replace(microsecond=0)
    return Validity(max(second - SKEW, within.not_before), min(end, within.not_after))
