"""What leaves this package as an error: one root, few leaves, by what the caller can do about it.

Pure; imports no gRPC. `reason` is UPPER_SNAKE and is what programs read; `message` says what
happened and `fix` what to do, for people. A call that policy denies is not an error: see
`Client.call`.
"""

# ruff: noqa: N818 - the names say what happened, not that it is an error


class StockadeError(Exception):
    """The root. `grpc_code` is the status name of the answer it came with, or empty."""

    default_reason = "STOCKADE_ERROR"

    def __init__(
        self, message: str, *, reason: str = "", fix: str = "", grpc_code: str = ""
    ) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason or self.default_reason
        self.fix = fix
        self.grpc_code = grpc_code

    def __str__(self) -> str:
        return f"{self.reason}: {self.message}"


class DaemonUnreachable(StockadeError):
    """No daemon answered: not running, not there, or gone in the middle."""

    default_reason = "DAEMON_UNREACHABLE"


class Unavailable(StockadeError):
    """The daemon answered that something it needs is out of reach: ledger, vault, a tier."""

    default_reason = "UNAVAILABLE"


class NotPermitted(StockadeError):
    """Policy, or the daemon's own rules, do not let this device do that."""

    default_reason = "NOT_PERMITTED"


class NotAuthenticated(StockadeError):
    """The daemon does not know this device's certificate, or not any more."""

    default_reason = "UNAUTHENTICATED"


class NotFound(StockadeError):
    """There is no such thing, or this device may not know of it."""

    default_reason = "NOT_FOUND"


class Conflict(StockadeError):
    """The thing is not in a state in which this can be done."""

    default_reason = "CONFLICT"


class BadRequest(StockadeError):
    """What was sent cannot be acted on; sending it again will not help."""

    default_reason = "BAD_REQUEST"


class Exhausted(StockadeError):
    """A bound was reached; later may help."""

    default_reason = "RESOURCE_EXHAUSTED"


class DaemonFault(StockadeError):
    """The daemon failed at something it should not have, or answered nonsense."""

    default_reason = "INTERNAL"


class CredentialsError(StockadeError):
    """The key or certificates of this device are missing, unsafe, expired or unfitting."""

    default_reason = "CREDENTIALS_INVALID"


class ApprovalUnclear(StockadeError):
    """An approval's statement contradicts itself or its envelope. It must not be answered."""

    default_reason = "STATEMENT_INVALID"


class PairingFailed(StockadeError):
    """The device was not paired; nothing was stored."""

    default_reason = "PAIRING_FAILED"
