"""Thousands of policies that say the same: the decision is recorded, and the first are named."""

import json
from collections.abc import Iterator

import pytest

from daemon.calls.asked import MAX_NAMED
from stockade.client import Client
from stockade.errors import NotPermitted
from stockade.v1 import call_pb2, policy_pb2
from tests.operating.acting import last_receipt
from tests.promises.acting import apply, ask, policy_files, receipts, run
from tests.running import finished

COUNT = 3000  # named one by one they would be more than a receipt may have
ID = f"{'written-by-a-program-' * 5}{{:05}}"
FILE = f"{'a-file-of-policies-' * 5}.cedar"
SCOPE = "principal, action in [ACTIONS], resource"
FORBID = f"forbid ({SCOPE});"
FAILS = f"permit ({SCOPE}) when {{ 9223372036854775807 + context.clock.epoch > 0 }};"


@pytest.fixture(autouse=True)
def afterwards(owner: Client) -> Iterator[None]:
    yield
    apply(owner, "")


def write(owner: Client, form: str, *actions: str) -> None:
    """Puts so many policies about these actions in force, beside the default ones."""
    policy = form.replace("ACTIONS", ", ".join(f'Action::"{action}"' for action in actions))
    text = "".join(f'@id("{ID.format(n)}") {policy}\n' for n in range(COUNT))
    owner.apply_policy([*policy_files(""), policy_pb2.PolicyFile(name=FILE, text=text)])


def short(question: dict[str, object], what: str = "policies") -> None:
    """Of the policies, or the errors, the first are there, and their number."""
    some = question[what]
    assert isinstance(some, list)
    assert len(some) == MAX_NAMED
    assert ID.format(0) in some[0]
    assert question[f"{what}_in_all"] == COUNT


def test_a_call_that_they_forbid_is_denied_and_recorded(owner: Client) -> None:
    """As any denial is; and it is explained by all of them."""
    write(owner, FORBID, "call", "list_devices")
    events = run(owner, "run_shell", command="true")
    end = finished(events)
    assert (end.state, end.reason) == (call_pb2.CALL_STATE_DENIED, "FORBIDDEN")
    body = receipts(owner, events[0].call_id)[-1]["body"]
    short(body["questions"][-1])
    assert len(body["policies"]) == MAX_NAMED
    request = policy_pb2.ExplainPolicyRequest(call_id=events[0].call_id)
    [ruling] = owner.explain_policy(request).rulings
    assert len(ruling.questions[-1].policies) == COUNT
    assert not ruling.notes
    # So is an act.
    with pytest.raises(NotPermitted):
        owner.list_devices()
    [question] = last_receipt(owner, "rpc.refused")["questions"]
    short(question)


def test_a_call_that_they_are_all_in_error_about_is_denied_and_recorded(owner: Client) -> None:
    """Nor are thousands of errors too much to say."""
    write(owner, FAILS, "call")
    events = run(owner, "run_shell", command="true")
    end = finished(events)
    assert (end.state, end.reason) == (call_pb2.CALL_STATE_DENIED, "EVALUATION_ERROR")
    body = receipts(owner, events[0].call_id)[-1]["body"]
    short(body["questions"][-1], "errors")
    assert len(json.dumps(body)) < 100_000


def test_people_can_be_asked_because_of_them(owner: Client, approver: Client) -> None:
    """What an approver is shown and signs has the first of them."""
    write(owner, FORBID, "call_unattended")
    waiting = ask(owner, "run_shell", command="true")
    approver.answer_approval(waiting.approval, approve=True)
    assert waiting.end().state == call_pb2.CALL_STATE_SUCCEEDED
