"""A lease put together by keys: for how long, how often, with which bounds on the arguments.

It begins narrow: exact arguments, an hour, ten uses, under this policy alone. An argument that no
narrow bound fits (a long text, a list) has none until the person chooses one, and without it there
is no lease. Pure but for the clock. What comes of it is shown in words before it is signed.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from stockade.approving import lease_for
from stockade.bounds import BoundError, parse_bounds, words
from stockade.lease import LeaseTerms
from stockade.statement import Statement

TIMES = (("15 minutes", 900), ("1 hour", 3600), ("8 hours", 28800), ("1 day", 86400))
USES = (1, 10, 100, 1000)
ANYTHING, NOT_YET = "ANYTHING", "NOT BOUNDED YET"
MAX_KEYS = 9  # 1 to 9 choose; a tenth argument stays as it is

Bound = Mapping[str, Any]


@dataclass(frozen=True)
class Choice:
    """What has been chosen so far."""

    statement: Statement
    bounded: bool
    lasts: int = 1
    uses: int = 1
    tied: bool = True
    at: Mapping[str, int] = field(default_factory=dict)

    def pressed(self, key: str) -> "Choice":
        """The choice after a key; the same if the key means nothing."""
        if key == "t":
            return replace(self, lasts=(self.lasts + 1) % len(TIMES))
        if key == "u":
            return replace(self, uses=(self.uses + 1) % len(USES))
        if key == "p":
            return replace(self, tied=not self.tied)
        names = self.names
        if self.bounded and key.isdigit() and 1 <= int(key) <= min(len(names), MAX_KEYS):
            name = names[int(key) - 1]
            return replace(self, at={**self.at, name: (self.at.get(name, 0) + 1)})
        return self

    @property
    def names(self) -> list[str]:
        """The arguments, in the order of their keys."""
        return sorted(self.statement.call.arguments)

    def bound(self, name: str) -> Bound | None:
        """The bound that is chosen for it; None as long as there is none."""
        options = _options(self.statement.call.arguments[name])
        return options[self.at.get(name, 0) % len(options)]

    def said(self, name: str) -> str:
        """That bound in words."""
        bound = self.bound(name)
        return words(name, bound) if bound is not None else f"{name}: {NOT_YET}"

    def missing(self) -> list[str]:
        """The arguments that keep it from being a lease."""
        return [one for one in self.names if self.bounded and self.bound(one) is None]

    def terms(self) -> LeaseTerms:
        """The lease. `BadRequest` for what is none."""
        ends = int((time.time() + TIMES[self.lasts][1]) * 1000)
        bounds = {name: dict(self.bound(name) or {}) for name in self.names}
        return lease_for(
            self.statement,
            expires_ms=ends,
            uses=USES[self.uses],
            bounds=bounds if self.bounded else None,
            tied=self.tied,
        )


def _options(value: object) -> list[Bound | None]:
    """The bounds that this value is within, the narrowest first."""
    fitting: list[Bound | None] = [one for one in _narrow(value) if _is_bound(one)]
    return [*(fitting or [None]), {"any": True}]


def _narrow(value: object) -> Iterator[Bound]:
    if isinstance(value, str | bool | int):
        yield {"is": value}
    if isinstance(value, str) and " " not in value:
        parts = value.split("/")
        for count in range(len(parts) - 1, 0, -1):
            if folder := "/".join(parts[:count]):
                yield {"below": folder}
    elif isinstance(value, int) and not isinstance(value, bool) and value > 0:
        yield {"from": 0, "to": value}


def _is_bound(bound: Bound) -> bool:
    try:
        parse_bounds({"argument": bound})
    except BoundError:
        return False
    return True
