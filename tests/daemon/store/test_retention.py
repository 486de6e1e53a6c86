"""What is over loses its contents, oldest first, and nothing else loses anything."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, insert, select

from daemon.lifecycle import ENDS, State
from daemon.store import retention
from daemon.store.engine import writing
from daemon.store.tables import (
    approval_answers,
    approval_shown,
    approvals,
    calls,
    lease_uses,
    leases,
    metadata,
)

TEXT = "x"
CONTENT = b'{"a":1}'


def call(number: int, state: str, created_ms: int) -> dict[str, Any]:
    names = ("principal", "device_id", "tool", "tool_digest", "digest", "reason", "origin")
    return {
        **dict.fromkeys(names, TEXT),
        "call_id": f"call-{number:03}",
        "state": state,
        "arguments": CONTENT,
        "detach": False,
        "created_ms": created_ms,
        "updated_ms": created_ms,
    }


def approval(number: int, state: str, created_ms: int) -> dict[str, Any]:
    return {
        "approval_id": f"approval-{number:03}",
        "call_id": f"call-{number:03}",
        "statement": CONTENT,
        "state": state,
        "policy_digest": TEXT,
        "created_ms": created_ms,
        "expires_ms": created_ms + 1,
    }


def lease(number: int, state: str, ended_ms: int | None, parent: str | None) -> dict[str, Any]:
    names = ("principal", "device_id", "tool", "signer", "reason")
    return {
        **dict.fromkeys(names, TEXT),
        "lease_id": f"lease-{number:03}",
        "approval_id": f"approval-{number:03}",
        "terms": CONTENT,
        "signature": b"s",
        "certificate": b"c",
        "state": state,
        "uses": 1,
        "max_uses": 2,
        "created_ms": 0,
        "expires_ms": 1,
        "ended_ms": ended_ms,
        "parent_id": parent,
    }


def clear(engine: Engine) -> None:
    with writing(engine).begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())


def kept(engine: Engine, table: Any, column: Any) -> list[Any]:
    with engine.connect() as connection:
        return list(connection.execute(select(column).order_by(*table.primary_key)).scalars())


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
@given(
    states=st.lists(st.sampled_from(sorted(State)), min_size=1, max_size=12),
    before=st.integers(-1, 14),
    limit=st.integers(1, 5),
)
def test_the_oldest_go_up_to_the_first_that_is_not_over(
    engine: Engine, states: list[State], before: int, limit: int
) -> None:
    """Whatever the batches: the same calls end up without contents, and none is gone."""
    clear(engine)
    with writing(engine).begin() as connection:
        rows = [call(n, state, n) for n, state in enumerate(states)]
        connection.execute(insert(calls), rows)
    taken = 0
    while True:
        with writing(engine).begin() as connection:
            pruned = retention.prune(connection, before, limit=limit)
        taken += pruned.calls
        if not pruned.anything:
            break
    over = next((n for n, state in enumerate(states) if state not in ENDS), len(states))
    expected = max(0, min(before, over, len(states)))
    assert taken == expected
    found = kept(engine, calls, calls.c.arguments)
    assert found == [b""] * expected + [CONTENT] * (len(states) - expected)


@pytest.fixture
def everything(engine: Engine) -> Engine:
    """Four calls with an approval each; of the first three a lease: two ended, one handed on."""
    with writing(engine).begin() as connection:
        connection.execute(insert(calls), [call(n, State.SUCCEEDED, n) for n in range(4)])
        connection.execute(insert(approvals), [approval(n, "used", n) for n in range(4)])
        answer = {"device_id": TEXT, "answer": TEXT, "signature": b"", "certificate": b""}
        for number in range(4):
            of = {"approval_id": f"approval-{number:03}"}
            connection.execute(
                insert(approval_answers), [{**of, **answer, "reason": "", "time_ms": 0}]
            )
            connection.execute(insert(approval_shown), [{**of, "device_id": TEXT, "time_ms": 0}])
        given = [
            lease(0, "expired", 5, None),
            lease(1, "active", None, "lease-002"),
            lease(2, "expired", 5, None),
        ]
        for one in given:
            connection.execute(insert(leases), [one])
        use = {"lease_id": "lease-000", "number": 1, "call_id": "call-000", "time_ms": 0}
        connection.execute(insert(lease_uses), [use])
    return engine


def test_a_lease_in_force_keeps_what_it_came_of(everything: Engine) -> None:
    """It, its approval, and the lease it was made of; what is over goes with all that hangs on."""
    with writing(everything).begin() as connection:
        pruned = retention.prune(connection, 100)
    assert (pruned.calls, pruned.leases, pruned.approvals) == (4, 1, 2)
    assert kept(everything, leases, leases.c.lease_id) == ["lease-001", "lease-002"]
    assert kept(everything, approvals, approvals.c.approval_id) == ["approval-001", "approval-002"]
    assert len(kept(everything, approval_answers, approval_answers.c.device_id)) == 2
    assert kept(everything, lease_uses, lease_uses.c.number) == []
    with writing(everything).begin() as connection:
        assert not retention.prune(connection, 100).anything
