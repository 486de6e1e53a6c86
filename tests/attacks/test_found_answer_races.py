"""What comes while a person answers: a call has one end, that all are told and that is recorded."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest

from stockade.client import Client
from stockade.errors import StockadeError
from stockade.v1 import call_pb2, tool_pb2
from tests.attacks.enrolling import connect
from tests.promises.acting import Waiting, ask, kinds, state, until
from tests.running import RunningDaemon, finished

TIMES = 24
ENDS = {"CANCELLED", "REJECTED", "SUCCEEDED"}


@pytest.fixture(scope="module")
def approver(shared_daemon: RunningDaemon) -> Iterator[Client]:
    with connect(shared_daemon, shared_daemon.pair_device("second", "approvers")) as client:
        yield client


def while_answered(
    approver: Client, waiting: Waiting, act: Callable[[str], str], *, approve: bool
) -> list[str]:
    """What the act says that is done in the moment of an answer; nothing where it is refused."""
    approval, said = approver.get_approval(waiting.approval.approval_id), list[str]()

    def answer() -> None:
        with contextlib.suppress(StockadeError):
            approver.answer_approval(approval, approve=approve)

    def other() -> None:
        with contextlib.suppress(StockadeError):
            said.append(act(waiting.call_id))

    threads = [threading.Thread(target=one, daemon=True) for one in (answer, other)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads)
    return said


@pytest.mark.parametrize("approve", [True, False])
def test_a_call_that_is_cancelled_while_somebody_answers(
    shared_daemon: RunningDaemon, owner: Client, approver: Client, approve: bool
) -> None:
    """It ends once: the receipt, the list of calls and its own stream say the same of it."""
    for number in range(TIMES):
        waiting = ask(owner, "run_shell", command=f"true {approve} {number}")
        cancelled = while_answered(
            approver, waiting, lambda call_id: name(owner.cancel_call(call_id)), approve=approve
        )
        told, _ = state(owner, waiting.call_id)
        assert told in ENDS
        assert cancelled == [name(waiting.end())] == [told]
        assert kinds(owner, waiting.call_id)[-1] == f"call.{told.lower()}"
    assert "Traceback" not in shared_daemon.log


@pytest.mark.parametrize("who", ["its caller", "somebody else"])
def test_the_id_of_a_call_that_waits_unwatched_is_sent_while_somebody_says_yes(
    shared_daemon: RunningDaemon, owner: Client, approver: Client, who: str
) -> None:
    """Sent twice it is one call, and another's it is none; the yes counts whatever is sent."""
    with contextlib.ExitStack() as stack:
        sender = owner
        if who != "its caller":
            home = shared_daemon.pair_device("third", "callers")
            sender = stack.enter_context(connect(shared_daemon, home))
        for number in range(TIMES):
            command = f"true {who} {number}"
            waiting = ask(owner, "run_shell", detach=True, command=command)
            waiting.events.cancel()
            time.sleep(0.02)  # until it is set aside, mostly: then it is taken up again
            sent = while_answered(approver, waiting, partial(send, sender, command), approve=True)
            assert until(partial(has_succeeded, owner, waiting.call_id))
            assert "approval.answered" in kinds(owner, waiting.call_id)
            assert sent == (["SUCCEEDED"] if sender is owner else [])
    assert "Traceback" not in shared_daemon.log


def send(sender: Client, command: str, call_id: str) -> str:
    events = sender.call("run_shell", {"command": command}, call_id=call_id, detach=True)
    return name(finished(list(events)))


def has_succeeded(client: Client, call_id: str) -> bool:
    return state(client, call_id)[0] == "SUCCEEDED"


def name(told: call_pb2.CallEvent.Finished | tool_pb2.CancelCallResponse) -> str:
    return call_pb2.CallState.Name(told.state).removeprefix("CALL_STATE_")
