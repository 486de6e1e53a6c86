"""Faults of the daemon, by what can be done about them.

A denial is a value and is not here. Every fault has a reason code (docs/reasons.md), says what
happened, and says what to do.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

SOON_SECONDS: Final = 1.0
"""When to come back, where nobody knows how long what is open will be."""


class Fault(Exception):  # noqa: N818 - the design's word: a fault, as against a denial
    """Root of the daemon's faults."""

    code = "INTERNAL"
    # What policy was asked and under which digest, where its answer is the reason: for the receipt.
    ruled: Mapping[str, object] = MappingProxyType({})

    def __init__(self, message: str, *, code: str | None = None, fix: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.fix = fix
        if code is not None:
            self.code = code


class ConfigError(Fault):
    """The configuration cannot be used; nothing was started."""

    code = "CONFIG_INVALID"


class StartError(Fault):
    """The daemon cannot start here and now."""

    code = "START_REFUSED"


class BadRequest(Fault):
    """What the client sent cannot be acted on; sending it again will not help."""

    code = "BAD_REQUEST"


class NotFound(Fault):
    """There is no such thing, or the asker may not know of it."""

    code = "NOT_FOUND"


class Hidden(NotFound):
    """The same, where asking for it is an attempt: it leaves a receipt, as a refusal does."""


class Refused(Fault):
    """The principal may not do this."""

    code = "NOT_PERMITTED"


class RefusedByPolicy(Refused):
    """The same, by policy's answer."""

    def __init__(
        self,
        message: str,
        *,
        ruled: Mapping[str, object],
        code: str | None = None,
        fix: str = "",
    ) -> None:
        super().__init__(message, code=code, fix=fix)
        self.ruled = ruled


class Unauthenticated(Fault):
    """The connection's certificate names nobody this daemon knows."""

    code = "UNAUTHENTICATED"


class NotServed(Fault):
    """This daemon has no such RPC."""

    code = "UNIMPLEMENTED"


class Conflict(Fault):
    """The thing is not in a state in which this can be done."""

    code = "CONFLICT"


class AlreadyExists(Conflict):
    """The id or name belongs to something else."""

    code = "ALREADY_EXISTS"


class Exhausted(Fault):
    """A bound was reached; later may help: in `retry_seconds`, unless that is 0 (not known)."""

    code = "RESOURCE_EXHAUSTED"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        fix: str = "",
        retry_seconds: float = 0,
    ) -> None:
        super().__init__(message, code=code, fix=fix)
        self.retry_seconds = retry_seconds


class Unavailable(Fault):
    """Something the daemon needs is out of reach: ledger, store, vault."""

    code = "UNAVAILABLE"
