"""Times as people type them: a moment, a day, or how long ago.

Trusted to give the one form that receipts have (RFC 3339, UTC, milliseconds, Z), in which the order
of text is the order of time. Raises UsageError.
"""

import re
from datetime import UTC, datetime, timedelta

from stockade.cli.terminal import UsageError

_AGO = re.compile(r"([0-9]{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def parse_moment(text: str, now: datetime, *, end: bool = False) -> str:
    """`2026-11-28T12:00:00Z`, `2026-11-28` (its beginning, or its end), or `90m`: so long ago."""
    found = _AGO.fullmatch(text)
    try:
        if found:
            return _form(now - timedelta(**{_UNITS[found[2]]: int(found[1])}))
        moment = datetime.fromisoformat(text)
        if len(text) == len("2026-11-28"):
            moment += timedelta(days=1, milliseconds=-1) if end else timedelta()
        # Without a zone: UTC, as everything the ledger shows.
        return _form(moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    except (ValueError, OverflowError):
        raise UsageError(
            f"{text!r} is no time", fix="2026-11-28T12:00:00Z, 2026-11-28, or 90m for so long ago"
        ) from None


def _form(moment: datetime) -> str:
    plain = moment.astimezone(UTC).replace(tzinfo=None)
    return plain.isoformat(timespec="milliseconds") + "Z"
