"""Under which policy the request being served was permitted, for the receipts that come of it.

Set where policy's yes is asked for, read where something is handed to the store, both in the task
of the request. What the daemon does by itself, and calls, whose receipts have the digest of their
own hearing, find nothing here, though one may be taken up in the request of its approver. Pure;
raises nothing.
"""

from contextvars import ContextVar

_digest: ContextVar[str] = ContextVar("permitted_under", default="")


def permitted_under() -> str:
    """The policy digest, in hex; empty where policy was not asked."""
    return _digest.get()


def set_permitted_under(policy_digest: str) -> None:
    """For `daemon.permission` alone."""
    _digest.set(policy_digest)


def not_of_a_request() -> None:
    """What this task does from now on, it does by itself."""
    _digest.set("")
