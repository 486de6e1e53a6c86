"""The life of a call as a literal table.

Pure. `next_state` is the only way from one state to another; an event that the table does not name
for a state is a programming fault and raises `IllegalTransitionError`. docs/design.md shows this
table, and a test walks every (state, event) pair.
"""

from enum import StrEnum
from types import MappingProxyType


class State(StrEnum):
    """Where a call is. Values are stored and signed: never renamed."""

    RECEIVED = "received"
    PENDING_APPROVAL = "pending_approval"
    PERMITTED = "permitted"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    DENIED = "denied"
    REJECTED = "rejected"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"
    KILLED = "killed"
    INTERRUPTED = "interrupted"


class Event(StrEnum):
    """What can happen to a call."""

    PERMIT = "permit"
    ASK = "ask"
    DENY = "deny"
    REJECT = "reject"
    EXPIRE = "expire"
    CANCEL = "cancel"
    START = "start"
    SUCCEED = "succeed"
    FAIL = "fail"
    TIME_OUT = "time_out"
    KILL = "kill"
    INTERRUPT = "interrupt"


TABLE: MappingProxyType[State, MappingProxyType[Event, State]] = MappingProxyType(
    {
        State.RECEIVED: MappingProxyType(
            {
                Event.DENY: State.DENIED,
                Event.ASK: State.PENDING_APPROVAL,
                Event.PERMIT: State.PERMITTED,
            }
        ),
        State.PENDING_APPROVAL: MappingProxyType(
            {
                Event.PERMIT: State.PERMITTED,
                # Policy is asked again after the yes, and may have changed its mind.
                Event.DENY: State.DENIED,
                Event.REJECT: State.REJECTED,
                Event.EXPIRE: State.EXPIRED,
                Event.CANCEL: State.CANCELLED,
            }
        ),
        State.PERMITTED: MappingProxyType(
            {
                Event.START: State.RUNNING,
                Event.CANCEL: State.CANCELLED,
                Event.FAIL: State.FAILED,
                # The daemon died after the permit was durable; whether the tool had started by then
                # is not known, so it must not be called failed.
                Event.INTERRUPT: State.INTERRUPTED,
            }
        ),
        State.RUNNING: MappingProxyType(
            {
                Event.SUCCEED: State.SUCCEEDED,
                Event.FAIL: State.FAILED,
                Event.TIME_OUT: State.TIMED_OUT,
                Event.KILL: State.KILLED,
                Event.CANCEL: State.CANCELLED,
                Event.INTERRUPT: State.INTERRUPTED,
            }
        ),
        **{
            end: MappingProxyType({})
            for end in (
                State.SUCCEEDED,
                State.FAILED,
                State.DENIED,
                State.REJECTED,
                State.EXPIRED,
                State.CANCELLED,
                State.TIMED_OUT,
                State.KILLED,
                State.INTERRUPTED,
            )
        },
    }
)

ENDS: frozenset[State] = frozenset(state for state, events in TABLE.items() if not events)
UNFINISHED: frozenset[State] = frozenset(TABLE) - ENDS


class IllegalTransitionError(RuntimeError):
    """The code tried something the table does not have. Nothing was recorded."""


def next_state(state: State, event: Event) -> State:
    """The state after `event` in `state`."""
    try:
        return TABLE[state][event]
    except KeyError:
        raise IllegalTransitionError(f"{event} in state {state}") from None
