"""No wake-up is lost: whoever leaves or comes back in the moment of the yes."""

import threading
from concurrent.futures import ThreadPoolExecutor

from stockade.client import Client
from stockade.v1 import call_pb2
from tests.approvals.test_waiting import left_alone
from tests.promises.acting import ask, kinds, state, until
from tests.running import output


def test_a_yes_while_its_caller_leaves_is_not_lost(owner: Client, approver: Client) -> None:
    """Before, after, and in the very moment in which the call is set aside: each yes runs its."""
    calls = []
    for turn in range(24):
        waiting = ask(owner, "run_shell", detach=True, command="true")
        leaves = threading.Thread(target=waiting.events.cancel)
        if turn % 3 == 1:
            approver.answer_approval(waiting.approval, approve=True)
        leaves.start()
        if turn % 3 == 2:
            leaves.join()
        if turn % 3 != 1:
            approver.answer_approval(waiting.approval, approve=True)
        leaves.join()
        calls.append(waiting.call_id)
    assert until(lambda: all(state(owner, call_id)[0] == "SUCCEEDED" for call_id in calls))


def test_all_who_come_back_in_the_moment_of_the_yes_hear_how_it_ends(
    owner: Client, approver: Client
) -> None:
    """A call that was set aside is taken up once, however many want it at one moment."""
    with ThreadPoolExecutor(5) as threads:
        for turn in range(8):
            call_id, approval_id = left_alone(owner, f"echo {turn}")
            approval = approver.get_approval(approval_id)
            together = threading.Barrier(5)

            def come(
                call_id: str = call_id, together: threading.Barrier = together
            ) -> list[call_pb2.CallEvent]:
                together.wait(60)
                return list(owner.watch_call(call_id))

            back = [threads.submit(come) for _ in range(4)]
            together.wait(60)
            approver.answer_approval(approval, approve=True)
            for one in back:
                events = one.result(90)
                assert events[-1].finished.state == call_pb2.CALL_STATE_SUCCEEDED
                assert output(events) == f"{turn}\n".encode()
            assert kinds(owner, call_id).count("call.running") == 1
