"""The contract of the calls store."""

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest
from sqlalchemy import Engine, text

from daemon.lifecycle import UNFINISHED, State
from daemon.store import calls
from daemon.store.calls import CallRow, Created, Existing
from daemon.store.engine import writing
from daemon.store.faults import StoreFault
from daemon.store.ids import CallId, DeviceId
from tests.daemon.store.conftest import EngineFactory


def row(number: int, *, principal: str = "p", state: State = State.RECEIVED) -> CallRow:
    return CallRow(
        call_id=CallId(f"call-{number:04}"),
        principal=principal,
        device_id=DeviceId("device"),
        tool="echo",
        tool_digest="aa",
        digest="bb",
        arguments=b'{"text":"hunter2"}',
        workspace=None,
        state=state,
        reason="",
        detach=number % 2 == 1,
        origin="cli",
        created_ms=1000 + number // 2,
        updated_ms=1000,
    )


def store(engine: Engine, *rows: CallRow) -> None:
    with writing(engine).begin() as connection:
        for each in rows:
            assert calls.create(connection, each) == Created()


def test_a_call_is_read_as_it_was_stored(engine: Engine) -> None:
    """Every field survives, and the arguments are in no repr."""
    store(engine, row(1), row(2))
    with engine.connect() as connection:
        assert calls.get(connection, CallId("call-0001")) == row(1)
        assert calls.get(connection, CallId("call-0002")) == row(2)
        assert calls.get(connection, CallId("call-0003")) is None
    assert "hunter2" not in repr(row(1))


def test_an_id_is_used_once(engine: Engine) -> None:
    """The same id again, whoever sends it, finds the first call and changes nothing."""
    store(engine, row(1))
    with writing(engine).begin() as connection:
        again = calls.create(connection, row(1, principal="thief"))
        assert again == Existing(row(1))
        assert calls.get(connection, CallId("call-0001")) == row(1)


def test_a_call_moves_only_from_where_it_is(engine: Engine) -> None:
    """A transition from a state the call is not in does nothing and says so."""
    store(engine, row(1))
    call = CallId("call-0001")
    with writing(engine).begin() as connection:
        for wrong in (state for state in State if state != State.RECEIVED):
            moved = calls.transition(connection, call, wrong, State.SUCCEEDED, reason="X", now_ms=2)
            assert not moved
        assert calls.get(connection, call) == row(1)
        assert calls.transition(
            connection, call, State.RECEIVED, State.DENIED, reason="NO", now_ms=7, outcome=b"o"
        )
        assert calls.get(connection, call) == replace(
            row(1), state=State.DENIED, reason="NO", updated_ms=7, outcome=b"o"
        )
        for state in State:
            assert not calls.transition(
                connection, CallId("none"), state, State.DENIED, reason="", now_ms=1
            )


def test_an_outcome_stays_unless_another_is_given(engine: Engine) -> None:
    """A transition that brings no outcome does not erase one."""
    store(engine, row(1))
    call = CallId("call-0001")
    with writing(engine).begin() as connection:
        for origin, outcome in ((State.RECEIVED, b"first"), (State.FAILED, None)):
            assert calls.transition(
                connection, call, origin, State.FAILED, reason="", now_ms=1, outcome=outcome
            )
        found = calls.get(connection, call)
    assert found is not None
    assert found.outcome == b"first"


def race(engines: EngineFactory, attempt: Callable[[Engine], bool], runners: int = 4) -> int:
    """How many of several daemons, at once, are told that it was they."""
    opened = [engines() for _ in range(runners)]
    barrier = threading.Barrier(runners)
    wins: list[bool] = []

    def run(engine: Engine) -> None:
        barrier.wait(90)
        wins.append(attempt(engine))

    threads = [threading.Thread(target=run, args=(engine,)) for engine in opened]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(90)
    assert len(wins) == runners
    return sum(wins)


@pytest.mark.parametrize("number", range(5))
def test_of_two_that_race_one_wins(engines: EngineFactory, number: int) -> None:
    """However many daemons move the same call at the same time, exactly one does."""
    store(engines(), row(number))

    def attempt(engine: Engine) -> bool:
        with writing(engine).begin() as connection:
            return calls.transition(
                connection,
                row(number).call_id,
                State.RECEIVED,
                State.PERMITTED,
                reason="",
                now_ms=1,
            )

    assert race(engines, attempt) == 1


def test_of_many_that_create_one_does(engines: EngineFactory) -> None:
    """The same call sent to several daemons at once is created once."""

    def attempt(engine: Engine) -> bool:
        with writing(engine).begin() as connection:
            return calls.create(connection, row(1)) == Created()

    assert race(engines, attempt) == 1


def test_pages_are_complete(engine: Engine) -> None:
    """Walking the pages meets every call once, newest first, also where times are equal."""
    rows = [row(n, principal="p" if n % 3 else "q") for n in range(20)]
    store(engine, *rows)
    with engine.connect() as connection:
        for principal in (None, "p", "q", "nobody"):
            met: list[CallRow] = []
            cursor = None
            while found := calls.page(connection, principal=principal, before=cursor, limit=3):
                met += found
                cursor = calls.cursor(found[-1])
            expected = [each for each in rows if principal in (None, each.principal)]
            assert met == expected[::-1]


def test_pages_by_state(engine: Engine) -> None:
    """A page shows only the states asked for; asking for none is not asking for all."""
    store(engine, *(row(n, state=state) for n, state in enumerate(State)))
    with engine.connect() as connection:
        found = calls.page(connection, states=[State.RUNNING, State.KILLED])
        assert {each.state for each in found} == {State.RUNNING, State.KILLED}
        assert calls.page(connection, states=[]) == ()
        assert len(calls.page(connection, limit=0)) == 1


def test_begun_and_waiting_are_those_without_an_end(engine: Engine) -> None:
    """What start-up must end as interrupted, or let wait, is every call that has no end."""
    store(engine, *(row(n, state=state) for n, state in enumerate(State)))
    with engine.connect() as connection:
        begun = {each.state for each in calls.begun(connection)}
        [waits] = calls.waiting(connection)
        waiting = calls.get(connection, waits.call_id)
    assert waiting is not None
    assert waiting.state is State.PENDING_APPROVAL
    assert (waits.principal, waits.tool_digest) == (waiting.principal, waiting.tool_digest)
    assert begun == UNFINISHED - {State.PENDING_APPROVAL}


def test_a_state_this_version_does_not_know_is_refused(engine: Engine) -> None:
    """A state that was put there by something else is a fault, not a guess."""
    store(engine, row(1))
    with writing(engine).begin() as connection:
        connection.execute(text("UPDATE calls SET state = 'blessed'"))
        with pytest.raises(StoreFault) as caught:
            calls.get(connection, CallId("call-0001"))
    assert caught.value.code == "STORE_CORRUPT"


@pytest.mark.parametrize(
    ("filters", "index"),
    [
        ({"principal": "p"}, "ix_calls_principal_created_ms_call_id"),
        ({}, "ix_calls_created_ms_call_id"),
        ({"states": [State.RUNNING]}, "ix_calls_state_created_ms_call_id"),
    ],
)
def test_listing_uses_an_index(engine: Engine, filters: dict[str, object], index: str) -> None:
    """No listing sorts, or reads, the whole table."""
    seen: list[str] = []
    with engine.connect() as connection:
        connection.connection.driver_connection.set_trace_callback(seen.append)  # type: ignore[union-attr]
        calls.page(connection, before=calls.cursor(row(1)), limit=3, **filters)  # type: ignore[arg-type]
        plan = connection.exec_driver_sql("EXPLAIN QUERY PLAN " + seen[-1]).all()
    assert any(index in line[3] for line in plan)
    assert not any("TEMP B-TREE" in line[3] for line in plan)
