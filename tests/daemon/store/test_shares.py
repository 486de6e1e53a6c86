"""What is too much goes of those who have too much, and of nobody else."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, insert

from daemon.lifecycle import ENDS, State
from daemon.store import shares
from daemon.store.engine import writing
from daemon.store.tables import approvals, calls, leases
from tests.daemon.store.test_retention import CONTENT, approval, call, clear, everything, kept

__all__ = ["everything"]

HELD = st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 100), max_size=8)


@given(held=HELD, room=st.integers(0, 500))
def test_nobody_within_an_equal_share_loses_anything(held: dict[str, int], room: int) -> None:
    """What stays fits, fills the room, and is the same for all who lose something."""
    over = shares.excess(held, room)
    left = {one: size - over.get(one, 0) for one, size in held.items()}
    assert sum(left.values()) <= max(room, 0)
    if over:
        assert sum(left.values()) > room - len(held)
        (level,) = {left[one] for one in over}
        assert all(left[one] <= level for one in held)
        assert level >= room // len(held)
    else:
        assert left == held


@given(held=HELD, room=st.integers(0, 500), more=st.integers(1, 10**9))
def test_who_sends_more_takes_no_more_than_an_equal_share(
    held: dict[str, int], room: int, more: int
) -> None:
    """The flood of one leaves each other one what it would have, or an equal share at least."""
    flooded = {**held, "flood": more}
    over = shares.excess(flooded, room)
    for one, size in held.items():
        assert size - over.get(one, 0) >= min(size, room // len(flooded))


def fill(engine: Engine, of: dict[str, list[State]]) -> None:
    rows: list[dict[str, Any]] = []
    for device, states in of.items():
        for state in states:
            number = len(rows)
            made = call(number, state, number) | {"device_id": device}
            rows.append(made)
    with writing(engine).begin() as connection:
        if rows:
            connection.execute(insert(calls), rows)


def prune(engine: Engine, device: str, enough: int, limit: int = 2) -> int:
    """Batch after batch, as the daemon does."""
    place: tuple[int, str] | None = (-1, "")
    total = 0
    while place is not None and total < enough:
        with writing(engine).begin() as connection:
            taken = shares.take(connection, device, place, enough - total, limit)
        total, place = total + taken.size, taken.place
    return total


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
@given(
    states=st.lists(st.sampled_from(sorted(State)), max_size=9),
    enough=st.integers(0, 80),
    limit=st.integers(1, 4),
)
def test_of_one_device_the_oldest_that_are_over_go(
    engine: Engine, states: list[State], enough: int, limit: int
) -> None:
    """As many as it takes and no more; what has not ended, and what is of others, stays whole."""
    clear(engine)
    fill(engine, {"loud": states, "quiet": [State.SUCCEEDED] * 3} if states else {"quiet": []})
    prune(engine, "loud", enough, limit)
    wanted = -(-enough // len(CONTENT))
    over = [number for number, state in enumerate(states) if state in ENDS][:wanted]
    found = kept(engine, calls, calls.c.arguments)
    assert [number for number, content in enumerate(found) if not content] == over


def test_sizes_are_of_devices_with_all_that_their_calls_asked(everything: Engine) -> None:
    """Arguments and statements, by the device that answers for the caller."""
    with everything.connect() as connection:
        assert shares.sizes(connection) == {"x": 8 * len(CONTENT)}


def test_what_a_lease_in_force_came_of_stays(everything: Engine) -> None:
    """Ended leases go with their approvals; the one in force, and what it was made of, do not."""
    assert prune(everything, "x", 1000) == 4 * len(CONTENT) + 2 * len(CONTENT)
    assert kept(everything, leases, leases.c.lease_id) == ["lease-001", "lease-002"]
    assert kept(everything, approvals, approvals.c.approval_id) == ["approval-001", "approval-002"]
    with everything.connect() as connection:
        assert shares.sizes(connection) == {"x": 2 * len(CONTENT)}


@pytest.mark.parametrize("state", ["pending", "used"])
def test_a_question_that_waits_stays(engine: Engine, state: str) -> None:
    """Of a call that is over nothing waits; were it so, the question would keep what it shows."""
    fill(engine, {"x": [State.SUCCEEDED]})
    with writing(engine).begin() as connection:
        connection.execute(insert(approvals), [approval(0, state, 0)])
    prune(engine, "x", 1000)
    assert bool(kept(engine, approvals, approvals.c.approval_id)) == (state == "pending")
