"""What is left of calls of which only a redacted copy stays, and what goes with their end."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert, select

from daemon.clock import Clock
from daemon.config import Ledger
from daemon.ledger.retention import Retention
from daemon.lifecycle import ENDS, State
from daemon.store import calls as stored
from daemon.store import redaction
from daemon.store.engine import writing
from daemon.store.ids import CallId
from daemon.store.leases import LeaseState
from daemon.store.reader import Reader
from daemon.store.tables import approvals, calls, leases
from tests.daemon.store import specimen
from tests.daemon.store.test_retention import CONTENT, approval, call, kept, lease

COPY = b'{"a":"[redacted number: schema]"}'
SALT = b"s" * 32
MARK = b"what-people-were-shown"


def redacted(number: int, state: str) -> dict[str, Any]:
    """A call with a copy; its true arguments are there as long as it is not over."""
    made = call(number, state, number)
    return {**made, "redacted": COPY, "salt": SALT}


@pytest.mark.parametrize("end", sorted(ENDS))
def test_with_its_end_the_copy_alone_is_left(engine: Engine, end: State) -> None:
    """Arguments, their salt and the digest of the exact call go in the change of its state."""
    with writing(engine).begin() as connection:
        connection.execute(insert(calls), [redacted(1, State.RUNNING)])
        assert stored.transition(
            connection, CallId("call-001"), State.RUNNING, end, reason="r", now_ms=2
        )
        found = stored.get(connection, CallId("call-001"))
    assert found is not None
    assert (found.arguments, found.redacted, found.salt, found.digest) == (b"", COPY, None, "")


def test_without_a_copy_all_stays_at_its_end(engine: Engine) -> None:
    """As ever."""
    with writing(engine).begin() as connection:
        connection.execute(insert(calls), [call(1, State.RUNNING, 1)])
        stored.transition(
            connection, CallId("call-001"), State.RUNNING, State.FAILED, reason="r", now_ms=2
        )
        found = stored.get(connection, CallId("call-001"))
    assert found is not None
    assert (found.arguments, found.redacted, found.digest) == (CONTENT, None, "x")


def test_before_its_end_it_keeps_what_it_needs(engine: Engine) -> None:
    """A call that goes from waiting to running is still the call that was approved."""
    with writing(engine).begin() as connection:
        connection.execute(insert(calls), [redacted(1, State.PENDING_APPROVAL)])
        before, after = State.PENDING_APPROVAL, State.PERMITTED
        stored.transition(connection, CallId("call-001"), before, after, reason="r", now_ms=2)
        found = stored.get(connection, CallId("call-001"))
    assert found is not None
    assert (found.arguments, found.salt) == (CONTENT, SALT)


async def swept(engine: Engine, config: Ledger, *rows: tuple[Any, list[dict[str, Any]]]) -> None:
    """The retention's work, once; the ledger verifies after it."""
    with writing(engine).begin() as connection:
        for table, made in rows:
            connection.execute(insert(table), made)
    async with specimen.writer(engine) as writer:
        await Retention(config, Reader(engine), writer, Clock()).run()
    specimen.verified(engine)


@pytest.mark.anyio
@pytest.mark.parametrize("contents", ["full", "redacted"])
async def test_what_people_were_shown_goes_when_the_call_is_over(
    engine: Engine, contents: Any
) -> None:
    """Of calls with a copy, whatever holds now; not of one that waits, nor of one in full."""
    made = [
        redacted(1, State.SUCCEEDED),
        redacted(2, State.PENDING_APPROVAL),
        {**redacted(3, State.SUCCEEDED), "redacted": None, "salt": None},
    ]
    asked = [approval(1, "approved", 1), approval(2, "pending", 2), approval(3, "approved", 3)]
    config = Ledger(retain_days=0, contents=contents)
    await swept(engine, config, (calls, made), (approvals, asked))
    assert kept(engine, approvals, approvals.c.approval_id) == ["approval-002", "approval-003"]
    assert kept(engine, calls, calls.c.redacted) == [COPY, COPY, None]


@pytest.mark.anyio
async def test_a_lease_in_force_keeps_what_it_was_given_by(engine: Engine) -> None:
    """And it goes with it, the parts that were handed on first."""
    made = [redacted(1, State.SUCCEEDED), redacted(2, State.SUCCEEDED)]
    asked = [approval(1, "approved", 1), approval(2, "approved", 2)]
    active = lease(1, LeaseState.ACTIVE, None, None)
    ended = lease(2, LeaseState.REVOKED, 5, None)
    part = {**lease(3, LeaseState.REVOKED, 5, "lease-002"), "approval_id": "approval-002"}
    config = Ledger(retain_days=0, contents="redacted")
    rows = (calls, made), (approvals, asked), (leases, [active, ended, part])
    await swept(engine, config, *rows)
    assert kept(engine, leases, leases.c.lease_id) == ["lease-001"]
    assert kept(engine, approvals, approvals.c.approval_id) == ["approval-001"]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "config",
    [Ledger(retain_days=0, contents="none"), Ledger(retain_days=1, contents="redacted")],
)
async def test_copies_are_pruned_as_contents_are(engine: Engine, config: Ledger) -> None:
    """By `none` and by age; and the ledger verifies as before."""
    row = {**redacted(1, State.SUCCEEDED), "arguments": b"", "salt": None}
    await swept(engine, config, (calls, [row]))
    assert kept(engine, calls, calls.c.redacted) == [None]


@pytest.mark.anyio
async def test_copies_count_for_the_share_of_who_sent_them(engine: Engine) -> None:
    """A megabyte of them is a megabyte."""
    half = b"x" * (512 * 1024 + 1)
    rows = [
        {**redacted(n, State.SUCCEEDED), "arguments": b"", "redacted": half} for n in range(1, 3)
    ]
    await swept(engine, Ledger(retain_days=0, retain_mib=1), (calls, rows))
    assert kept(engine, calls, calls.c.redacted) == [None, half]


@pytest.mark.anyio
@pytest.mark.parametrize(
    "config", [Ledger(retain_days=0, contents="none"), Ledger(retain_days=1, contents="full")]
)
async def test_output_is_pruned_as_contents_are(engine: Engine, config: Ledger) -> None:
    """Where it is all there is, too, by `none` and by age; not of a call that goes on."""
    rows = [
        {**redacted(n, state), "arguments": b"", "redacted": None, "salt": None, "output": b"said"}
        for n, state in ((1, State.SUCCEEDED), (2, State.RUNNING))
    ]
    await swept(engine, config, (calls, rows))
    assert kept(engine, calls, calls.c.output) == [None, b"said"]


@pytest.mark.anyio
async def test_output_counts_for_the_share_of_who_called(engine: Engine) -> None:
    """A megabyte of it is a megabyte."""
    half = b"x" * (512 * 1024 + 1)
    rows = [
        {**redacted(n, State.FAILED), "arguments": b"", "redacted": None, "output": half}
        for n in range(1, 3)
    ]
    await swept(engine, Ledger(retain_days=0, retain_mib=1), (calls, rows))
    assert kept(engine, calls, calls.c.output) == [None, half]


def test_nothing_is_left_where_nothing_was_asked(engine: Engine) -> None:
    """A call that ran at once has left nothing but its copy."""
    with writing(engine).begin() as connection:
        connection.execute(insert(calls), [redacted(1, State.SUCCEEDED)])
        assert redaction.left(connection) == []
        assert connection.execute(select(calls.c.redacted)).scalar_one() == COPY


@pytest.mark.anyio
async def test_what_was_taken_leaves_the_log_once_nobody_reads_it(engine: Engine) -> None:
    """A reader of an older state holds up the scrubbing: it is tried again, with nothing new."""
    with writing(engine).begin() as connection:
        connection.execute(insert(calls), [redacted(1, State.SUCCEEDED)])
        connection.execute(insert(approvals), [{**approval(1, "approved", 1), "statement": MARK}])
    async with specimen.writer(engine) as writer:
        retention = Retention(
            Ledger(retain_days=0, contents="redacted"), Reader(engine), writer, Clock()
        )
        with engine.connect() as connection, connection.begin():
            assert connection.execute(select(approvals.c.statement)).scalar_one() == MARK
            await retention.run()
            assert on_disk(engine)
        await retention.run()
        assert not on_disk(engine)


def on_disk(engine: Engine) -> bool:
    """Whether the mark is in the database's file or its log."""
    files = Path(str(engine.url.database)).parent.glob("stockade.db*")
    return any(MARK in file.read_bytes() for file in files)
