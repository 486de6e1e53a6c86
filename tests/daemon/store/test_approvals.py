"""The contract of the approvals store."""

from dataclasses import replace

import pytest
from sqlalchemy import Engine

from daemon.lifecycle import State
from daemon.store import approvals, calls
from daemon.store.approvals import Answered, AnswerRow, ApprovalRow, ApprovalState
from daemon.store.engine import writing
from daemon.store.faults import StoreFault
from daemon.store.ids import ApprovalId, CallId, DeviceId, PolicyDigest
from tests.daemon.store import test_calls
from tests.daemon.store.conftest import EngineFactory
from tests.daemon.store.test_calls import race

ID = ApprovalId("approval-1")
POLICY = PolicyDigest("policy-1")
CALL = CallId("call-0001")
EXPIRES = 5000


def row(number: int = 1, **changes: object) -> ApprovalRow:
    made = ApprovalRow(
        approval_id=ApprovalId(f"approval-{number}"),
        call_id=CALL,
        statement=b'{"what":"this"}',
        state=ApprovalState.PENDING,
        policy_digest=POLICY,
        created_ms=1000 + number,
        expires_ms=EXPIRES,
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def said(device: str = "d1", *, answer: str = "approve", time_ms: int = 2000) -> AnswerRow:
    return AnswerRow(ID, DeviceId(device), answer, b"signature", b"certificate", "why", time_ms)


@pytest.fixture
def stored(engine: Engine) -> Engine:
    test_calls.store(engine, test_calls.row(1), test_calls.row(2))
    with writing(engine).begin() as connection:
        assert approvals.create(connection, row())
    return engine


def put_into(engine: Engine, state: ApprovalState) -> None:
    """Bring the approval into a state by the ways there are."""
    with writing(engine).begin() as connection:
        if state is ApprovalState.USED:
            assert approvals.settle(connection, ID, ApprovalState.APPROVED, now_ms=2)
            assert approvals.use(connection, ID, call_id=CALL, policy_digest=POLICY, now_ms=3)
        elif state is ApprovalState.EXPIRED:
            assert approvals.settle(connection, ID, state, now_ms=EXPIRES)
        elif state is not ApprovalState.PENDING:
            assert approvals.settle(connection, ID, state, now_ms=2)


def test_an_approval_is_read_as_it_was_stored(stored: Engine) -> None:
    """Every field survives, the statement byte for byte."""
    with stored.connect() as connection:
        assert approvals.get(connection, ID) == row()
        assert approvals.get(connection, ApprovalId("none")) is None
        assert approvals.pending(connection) == (row(),)
        assert approvals.of_call(connection, CALL) == (row(),)
        assert approvals.of_call(connection, CallId("call-0002")) == ()


def test_an_approval_belongs_to_a_call(stored: Engine) -> None:
    """An approval for a call that does not exist is refused; an id is used once."""
    with writing(stored).begin() as connection:
        assert not approvals.create(connection, row(call_id=CallId("call-0002")))
        with pytest.raises(StoreFault) as caught:
            approvals.create(connection, row(2, call_id=CallId("none")))
    assert caught.value.code == "STORE_CONFLICT"


POSSIBLE = {
    (ApprovalState.PENDING, ApprovalState.APPROVED),
    (ApprovalState.PENDING, ApprovalState.REJECTED),
    (ApprovalState.PENDING, ApprovalState.EXPIRED),
    (ApprovalState.PENDING, ApprovalState.WITHDRAWN),
    (ApprovalState.APPROVED, ApprovalState.EXPIRED),
    (ApprovalState.APPROVED, ApprovalState.WITHDRAWN),
    (ApprovalState.APPROVED, ApprovalState.USED),
}


@pytest.mark.parametrize("origin", ApprovalState)
@pytest.mark.parametrize("to", [state for state in ApprovalState if state != "pending"])
def test_every_move(stored: Engine, origin: ApprovalState, to: ApprovalState) -> None:
    """An approval that was settled stays settled: only the moves of the table are possible."""
    put_into(stored, origin)
    now = EXPIRES if to is ApprovalState.EXPIRED else 4
    with writing(stored).begin() as connection:
        if to is ApprovalState.USED:
            moved = approvals.use(connection, ID, call_id=CALL, policy_digest=POLICY, now_ms=now)
        else:
            moved = approvals.settle(connection, ID, to, now_ms=now)
        found = approvals.get(connection, ID)
    assert found is not None
    assert moved is ((origin, to) in POSSIBLE)
    assert found.state is (to if moved else origin)
    if moved:
        assert found.settled_ms == now


@pytest.mark.parametrize("to", [ApprovalState.USED, ApprovalState.PENDING])
def test_settling_is_no_way_to_use(stored: Engine, to: ApprovalState) -> None:
    """`settle` neither uses an approval nor opens it again."""
    with (
        writing(stored).begin() as connection,
        pytest.raises(ValueError, match="not settled as"),
    ):
        approvals.settle(connection, ID, to, now_ms=1)


@pytest.mark.parametrize("to", [ApprovalState.APPROVED, ApprovalState.REJECTED])
def test_a_late_answer_settles_nothing(stored: Engine, to: ApprovalState) -> None:
    """From its last moment on, an approval can only expire: no late yes, no no in its name."""
    with writing(stored).begin() as connection:
        assert not approvals.settle(connection, ID, to, now_ms=EXPIRES)
        assert approvals.answer(connection, said(time_ms=EXPIRES)) is Answered.NOT_PENDING
        assert not approvals.settle(connection, ID, ApprovalState.EXPIRED, now_ms=EXPIRES - 1)
        assert approvals.settle(connection, ID, to, now_ms=EXPIRES - 1)


@pytest.mark.parametrize(
    "changed",
    [
        {"policy_digest": PolicyDigest("policy-2")},
        {"call_id": CallId("call-0002")},
        {"now_ms": EXPIRES},
    ],
)
def test_an_approval_is_used_for_what_it_was(stored: Engine, changed: dict[str, object]) -> None:
    """Another policy, another call, or too late: the approval is not used, and not used up."""
    put_into(stored, ApprovalState.APPROVED)
    right: dict[str, object] = {"call_id": CALL, "policy_digest": POLICY, "now_ms": EXPIRES - 1}
    with writing(stored).begin() as connection:
        assert not approvals.use(connection, ID, **(right | changed))  # type: ignore[arg-type]
        assert approvals.use(connection, ID, **right)  # type: ignore[arg-type]
        assert not approvals.use(connection, ID, **right)  # type: ignore[arg-type]


@pytest.mark.parametrize("number", range(3))
def test_an_approval_is_used_once(engines: EngineFactory, stored: Engine, number: int) -> None:
    """However many runs take the same approval at the same time, one gets it."""
    put_into(stored, ApprovalState.APPROVED)

    def attempt(engine: Engine) -> bool:
        with writing(engine).begin() as connection:
            return approvals.use(
                connection, ID, call_id=CALL, policy_digest=POLICY, now_ms=10 + number
            )

    assert race(engines, attempt) == 1


def test_yes_and_no_at_once(engines: EngineFactory, stored: Engine) -> None:
    """Of a yes and a no that settle at the same time one does, and that is what is stored."""
    ways = iter([ApprovalState.APPROVED, ApprovalState.REJECTED] * 2)
    won: list[ApprovalState] = []

    def attempt(engine: Engine) -> bool:
        way = next(ways)
        with writing(engine).begin() as connection:
            moved = approvals.settle(connection, ID, way, now_ms=10)
        if moved:
            won.append(way)
        return moved

    assert race(engines, attempt) == 1
    with stored.connect() as connection:
        found = approvals.get(connection, ID)
    assert found is not None
    assert [found.state] == won


def test_a_device_answers_once(stored: Engine) -> None:
    """A device cannot make a quorum by answering twice, or take its first answer back."""
    with writing(stored).begin() as connection:
        assert approvals.answer(connection, said("d1")) is Answered.RECORDED
        assert approvals.answer(connection, said("d1", answer="reject")) is Answered.TWICE
        assert approvals.answer(connection, said("d2", time_ms=1999)) is Answered.RECORDED
        found = approvals.answers(connection, ID)
        of_all = approvals.answers_to(connection, [ApprovalId("none"), ID])
    assert found == (said("d2", time_ms=1999), said("d1"))
    assert of_all == {ID: found}


@pytest.mark.parametrize("state", [state for state in ApprovalState if state != "pending"])
def test_a_settled_approval_takes_no_answer(stored: Engine, state: ApprovalState) -> None:
    """An answer to what is settled is refused, and not recorded."""
    put_into(stored, state)
    with writing(stored).begin() as connection:
        assert approvals.answer(connection, said()) is Answered.NOT_PENDING
        assert approvals.answers(connection, ID) == ()
        unknown = replace(said(), approval_id=ApprovalId("none"))
        assert approvals.answer(connection, unknown) is Answered.NOT_PENDING


def test_what_is_past_its_time_is_due(stored: Engine) -> None:
    """Due is exactly what waits past its time, a bounded number at once; what is settled is not."""
    with writing(stored).begin() as connection:
        for number in range(2, 6):
            approvals.create(connection, row(number, expires_ms=EXPIRES + number % 2))
        assert approvals.due(connection, now_ms=EXPIRES - 1) == ()
        assert approvals.due(connection, now_ms=EXPIRES) == (CALL,) * 3
        assert approvals.due(connection, now_ms=EXPIRES, limit=2) == (CALL,) * 2
        assert approvals.settle(connection, ID, ApprovalState.EXPIRED, now_ms=EXPIRES)
        assert approvals.due(connection, now_ms=EXPIRES) == (CALL,) * 2
        everything = approvals.latest(connection)
    assert [each.created_ms for each in everything] == [1005, 1004, 1003, 1002, 1001]


def test_an_approval_outlives_its_call_moving(stored: Engine) -> None:
    """Ending the call does not touch its approval: whoever ends one withdraws the other."""
    with writing(stored).begin() as connection:
        calls.transition(
            connection,
            CALL,
            State.RECEIVED,
            State.CANCELLED,
            reason="",
            now_ms=5,
        )
        assert approvals.get(connection, ID) == row()
