"""The life of a call: every pair of a state and an event."""

import itertools

import pytest

from daemon.lifecycle import (
    ENDS,
    TABLE,
    UNFINISHED,
    Event,
    IllegalTransitionError,
    State,
    next_state,
)

# Written out once more, from the design and not from the table: what is not here is illegal.
LEGAL = {
    ("received", "deny"): "denied",
    ("received", "ask"): "pending_approval",
    ("received", "permit"): "permitted",
    ("pending_approval", "permit"): "permitted",
    ("pending_approval", "deny"): "denied",
    ("pending_approval", "reject"): "rejected",
    ("pending_approval", "expire"): "expired",
    ("pending_approval", "cancel"): "cancelled",
    ("permitted", "start"): "running",
    ("permitted", "cancel"): "cancelled",
    ("permitted", "fail"): "failed",
    ("permitted", "interrupt"): "interrupted",
    ("running", "succeed"): "succeeded",
    ("running", "fail"): "failed",
    ("running", "time_out"): "timed_out",
    ("running", "kill"): "killed",
    ("running", "cancel"): "cancelled",
    ("running", "interrupt"): "interrupted",
}
PAIRS = list(itertools.product(State, Event))


@pytest.mark.parametrize(("state", "event"), PAIRS, ids=[f"{s}-{e}" for s, e in PAIRS])
def test_every_pair_of_state_and_event(state: State, event: Event) -> None:
    """A pair leads where the design says, or is refused; there is no third way."""
    expected = LEGAL.get((state.value, event.value))
    if expected is None:
        with pytest.raises(IllegalTransitionError, match=f"{event} in state {state}"):
            next_state(state, event)
    else:
        assert next_state(state, event) is State(expected)


def test_every_state_is_in_the_table() -> None:
    """No state is forgotten, and each is an end or unfinished."""
    assert set(TABLE) == set(State) == ENDS | UNFINISHED
    assert not ENDS & UNFINISHED


def test_the_nine_ends() -> None:
    """The ends are never confused with one another, and nothing leads out of one."""
    assert {state.value for state in ENDS} == {
        "succeeded",
        "failed",
        "denied",
        "rejected",
        "expired",
        "cancelled",
        "timed_out",
        "killed",
        "interrupted",
    }


def test_every_state_is_reached_from_received() -> None:
    """No state is dead: each lies on some way from a call's arrival."""
    reached, edge = {State.RECEIVED}, [State.RECEIVED]
    while edge:
        for state in TABLE[edge.pop()].values():
            if state not in reached:
                reached.add(state)
                edge.append(state)
    assert reached == set(State)


def test_a_tool_never_starts_but_from_permitted() -> None:
    """There is one way into running, and it is the permit."""
    ways = [state for state, events in TABLE.items() if State.RUNNING in events.values()]
    assert ways == [State.PERMITTED]


def test_the_table_cannot_be_changed() -> None:
    """The table is read-only, so no code can teach it another way."""
    with pytest.raises(TypeError):
        TABLE[State.DENIED][Event.PERMIT] = State.RUNNING  # type: ignore[index]
    with pytest.raises(TypeError):
        TABLE[State.DENIED] = TABLE[State.RECEIVED]  # type: ignore[index]
