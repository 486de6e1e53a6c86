"""Who is suspended: shut out for now, by an alert, until a person lets them in again.

Trusted so that a suspended principal is refused wherever a principal is made of a certificate, and
an agent with its device too. Kept in one value of the database's `meta`, changed by
compare-and-swap; memory is a copy. A value that is not ours keeps the daemon from starting
(`StartError`): nobody is let in because it could not be read. Raises `Unauthenticated` to whoever
is suspended.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from daemon.errors import StartError, Unauthenticated

META_KEY: Final = "suspended"
MOST_SUSPENDED: Final = 1000


@dataclass(frozen=True, slots=True)
class Suspension:
    """By which rule, and since when."""

    rule: str
    since_ms: int


class Suspended:
    """Of names as receipts have them: "device/dev-...", "agent/..."."""

    def __init__(self) -> None:
        self.stored: str | None = None
        self.changes = 0
        self._names: Mapping[str, Suspension] = {}

    def load(self, stored: str | None) -> None:
        """Takes over what the database says."""
        self._names = _decode(stored)
        self.stored = stored
        self.changes += 1

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def with_one(self, name: str, suspension: Suspension) -> str:
        """As it would be stored with one more."""
        return _encode({**self._names, name: suspension})

    def without(self, name: str) -> str:
        """As it would be stored with one less."""
        return _encode({key: one for key, one in self._names.items() if key != name})

    def check(self, *names: str) -> None:
        """Raises `Unauthenticated` if one of them is suspended."""
        for name in names:
            found = self._names.get(name)
            if found is not None:
                raise principal_suspended(name, found.rule)


def principal_suspended(name: str, rule: str) -> Unauthenticated:
    """The fault of somebody who is suspended."""
    kind = name.partition("/")[0]
    return Unauthenticated(
        f"this {kind} was suspended by the alert {rule}",
        code="PRINCIPAL_SUSPENDED",
        fix=f"an owner looks into it and lets it in again: `stockade {kind}s resume`",
    )


def _encode(names: Mapping[str, Suspension]) -> str:
    fields = {name: {"rule": one.rule, "since_ms": one.since_ms} for name, one in names.items()}
    return json.dumps(fields, sort_keys=True)


def _decode(stored: str | None) -> dict[str, Suspension]:
    try:
        fields = json.loads(stored or "{}")
        return {
            str(name): Suspension(str(one["rule"]), int(one["since_ms"]))
            for name, one in fields.items()
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        raise StartError(
            "who is suspended cannot be read from the database",
            code="STORE_CORRUPT",
            fix="restore the data directory from a backup",
        ) from None
