"""The ends of a call that are no outcome of a run, and what those who are told of them read.

Pure. `refusal_ending` raises what it is given, if that is not a refusal but a defect.
"""

from collections.abc import Mapping

from daemon.calls.hearing import TIER_UNAVAILABLE
from daemon.calls.live import LiveCall
from daemon.errors import Conflict
from daemon.lifecycle import Event, State
from daemon.outcome import Ending
from sandbox.errors import TierUnavailableError

CALLER_GONE = "CALLER_GONE"
CANCELLED: Mapping[str, str] = {
    CALLER_GONE: "its caller went away before it ended",
    "CANCELLED_BY_REQUEST": "it was cancelled by request",
    "LEASE_REVOKED": "the lease that permitted it was revoked",
    "DEVICE_REVOKED": "the caller's device was revoked",
    "AGENT_REVOKED": "the agent was revoked",
    "AGENT_REPLACED": "the agent was enrolled with another manifest: it is another agent now",
    "AGENT_ENROLLED_AGAIN": "the agent was enrolled again, with a new certificate",
    "SECRET_REVOKED": "a secret that it had was revoked",
    "DAEMON_STOPPED": "the daemon was stopped",
    "CLOCK_SET_BACK": "the clock was set back, and nobody can say how long it has waited",
    "DAEMON_RESTARTED": "the daemon was restarted, and nobody was attached to the call",
}

NOBODY_ANSWERED = Ending(Event.EXPIRE, "NOBODY_ANSWERED", "nobody answered in time")
APPROVAL_DAMAGED = Ending(
    Event.DENY,
    "APPROVAL_DAMAGED",
    "the database says that its approval was settled, and no answer did that",
    fix="find out who wrote to the database; `stockade ledger verify`",
)
LEASE_REVOKED = Ending(
    Event.FAIL,
    "LEASE_REVOKED",
    "the lease that permitted it was revoked while the call waited for its turn to run",
    fix="call again",
)
POLICY_CHANGED = Ending(
    Event.FAIL,
    "POLICY_CHANGED",
    "policy, or what it is told of, changed while the call waited for its turn to run",
    fix="call again",
)


def cancelled(reason: str) -> Ending:
    """The ending of a call that was withdrawn."""
    fix = "`stockade call --detach` lets a call go on by itself" if reason == CALLER_GONE else ""
    return Ending(Event.CANCEL, reason, CANCELLED.get(reason, "cancelled"), fix=fix)


def ending_of_verdict(live: LiveCall) -> Ending:
    """The ending of a call that policy or a human refused."""
    verdict = live.verdict
    event = Event.REJECT if live.state is State.REJECTED else Event.DENY
    return Ending(event, verdict.code, verdict.message, fix=verdict.fix)


def moved(live: LiveCall) -> Conflict:
    """The fault for a call that is not where it was thought to be."""
    return Conflict(
        f"call {live.call_id} was moved by somebody else",
        code="CALL_MOVED",
        fix="`stockade calls list` shows where it is",
    )


def refusal_ending(error: Exception, live: LiveCall) -> Ending:
    """The ending for what refused to start; anything that is not a refusal is a defect."""
    code = getattr(error, "code", None)
    if code is None:
        raise error
    message = getattr(error, "message", str(error))
    if isinstance(error, TierUnavailableError):
        # It worked when it was probed. Whoever called is told the same as if it never had.
        message = f"the call needs the {tier_label(live)} tier: {code}: {message}"
        code = TIER_UNAVAILABLE
    return Ending(Event.FAIL, str(code), message, fix=getattr(error, "fix", ""))


def tier_label(live: LiveCall) -> str:
    """The tier it is permitted in; empty if none."""
    return live.verdict.tier.label if live.verdict.tier else ""
