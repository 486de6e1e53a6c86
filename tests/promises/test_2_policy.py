"""Promise 2: nothing runs that policy did not permit, and no human turns its no into a yes."""

import pytest

from stockade.client import Client
from stockade.errors import BadRequest
from stockade.v1 import approval_pb2, call_pb2
from tests.promises.acting import ask, kinds, policy, receipts, run
from tests.running import RunningDaemon, finished

FAILS = "9223372036854775807 + 1 == 0"
ADMINISTER = """
permit (principal, action == Action::"apply_policy", resource);
permit (principal, action == Action::"read_ledger", resource);
"""


def denied(events: list[call_pb2.CallEvent]) -> str:
    """The reason code of a call that was denied, and never started."""
    end = finished(events)
    assert end.state == call_pb2.CALL_STATE_DENIED
    assert not any(event.HasField("started") for event in events)
    assert end.receipt.kind == "call.denied"
    return end.reason


@pytest.mark.parametrize("text", ["", 'forbid (principal, action == Action::"call", resource);'])
def test_without_a_permit_nothing_runs(owner: Client, text: str) -> None:
    """No policy for calls, or nothing but a forbid: every call is denied, an owner's too."""
    with policy(owner, ADMINISTER + text, default=False):
        reason = denied(run(owner, "read_file", workspace="work", path="hello.txt"))
    assert reason == ("FORBIDDEN" if text else "NOT_PERMITTED")


@pytest.mark.parametrize("effect", ["permit", "forbid"])
def test_a_policy_that_errors_denies(owner: Client, effect: str) -> None:
    """The engine skips a policy in error and would say Allow; the call is denied all the same."""
    text = f'{effect} (principal, action == Action::"call", resource) when {{ {FAILS} }};'
    with policy(owner, text):
        reason = denied(run(owner, "read_file", workspace="work", path="hello.txt"))
    assert reason == "EVALUATION_ERROR"


def test_an_unknown_tool_is_denied_and_recorded(owner: Client) -> None:
    """What does not exist cannot be called; that it was tried is in the ledger."""
    events = run(owner, "no_such_tool", x=1)
    assert denied(events) == "UNKNOWN_TOOL"
    assert kinds(owner, events[0].call_id) == ["call.received", "call.denied"]


LOOK_ALIKE = "read_fil\N{CYRILLIC SMALL LETTER IE}"
SPELLINGS = ["Read_file", "read_file ", "READ_FILE", "read_file\n", "read-file", LOOK_ALIKE]


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_tool_name_has_one_spelling(owner: Client, name: str) -> None:
    """A name in another case, with white space or a look-alike letter skips no rule: no tool."""
    assert denied(run(owner, name, workspace="work", path="hello.txt")) == "UNKNOWN_TOOL"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (b'{"workspace":"work","path":"a","path":"b"}', "ARGUMENTS_DUPLICATE_KEY"),
        (b'{"workspace":"work","path":"a","also":1}', "ARGUMENTS_INVALID"),
        (b'{"workspace":"work","path":1}', "ARGUMENTS_INVALID"),
        (b'{"workspace":"work"}', "ARGUMENTS_INVALID"),
        (b'{"workspace":"work","path":NaN}', "ARGUMENTS_MALFORMED"),
        (b"[]", "ARGUMENTS_MALFORMED"),
        (b"", "ARGUMENTS_MALFORMED"),
        (b'{"workspace":"elsewhere","path":"a"}', "UNKNOWN_WORKSPACE"),
    ],
)
def test_arguments_outside_the_contract_are_denied(
    owner: Client, arguments: bytes, reason: str
) -> None:
    """Arguments that the manifest does not name, or that can be read two ways, are denied."""
    assert denied(list(owner.call("read_file", arguments))) == reason


def test_a_tool_that_writes_is_denied_a_read_only_workspace(owner: Client) -> None:
    """The default policy's forbid is named as the reason, with its file and line."""
    events = run(owner, "write_file", workspace="docs", path="new.txt", content="x")
    assert denied(events) == "FORBIDDEN"
    decision = next(event.decision for event in events if event.HasField("decision"))
    assert [p.id for p in decision.policies] == ["read-only-workspace"]
    assert decision.policies[0].file == "calls.cedar"
    assert decision.policies[0].line > 0


def test_the_denial_is_in_the_ledger_with_its_question(owner: Client) -> None:
    """The receipt of a denial says which question was answered no, and by which policy."""
    events = run(owner, "write_file", workspace="docs", path="new.txt", content="x")
    body = receipts(owner, events[0].call_id)[-1]["body"]
    assert body["questions"][-1]["action"] == "call"
    assert body["questions"][-1]["allowed"] is False
    assert body["questions"][-1]["policies"] == [
        f"read-only-workspace ({_place(events)})",
    ]


def _place(events: list[call_pb2.CallEvent]) -> str:
    decision = next(event.decision for event in events if event.HasField("decision"))
    return f"{decision.policies[0].file}:{decision.policies[0].line}"


def test_a_humans_yes_does_not_override_a_forbid(owner: Client, approver: Client) -> None:
    """Policy forbids while a call waits; the yes that comes afterwards ends it denied."""
    waiting = ask(owner, "run_shell", command="id")
    text = '@id("stop") forbid (principal, action == Action::"call", resource);'
    with policy(owner, text):
        answered = approver.answer_approval(waiting.approval, approve=True)
        end = waiting.end()
    assert end.state == call_pb2.CALL_STATE_DENIED
    assert end.reason == "FORBIDDEN"
    assert "stop" in end.message
    assert not waiting.started
    assert answered.approval.state == approval_pb2.APPROVAL_STATE_WITHDRAWN
    assert kinds(owner, waiting.call_id) == [
        "call.received",
        "approval.asked",
        "call.pending_approval",
        "approval.shown",
        "approval.answered",
        "call.denied",
    ]


@pytest.mark.parametrize(
    "text",
    [
        f'forbid (principal, action == Action::"call", resource) when {{ {FAILS} }};',
        'forbid (principal, action == Action::"run_in_process", resource);',
        'permit (principal, action == Action::"call", resource);',
    ],
    ids=["error", "tier raised", "another permit"],
)
def test_a_yes_to_a_policy_that_is_gone_permits_nothing(
    owner: Client, approver: Client, text: str
) -> None:
    """Whatever changed in policy while the call waited, its yes was for another question."""
    waiting = ask(owner, "run_shell", command="id")
    with policy(owner, text):
        approver.answer_approval(waiting.approval, approve=True)
        end = waiting.end()
    assert end.state == call_pb2.CALL_STATE_DENIED
    assert not waiting.started


def test_a_policy_that_does_not_validate_changes_nothing(owner: Client) -> None:
    """A set with a mistake is refused whole; what was in force stays in force."""
    before = owner.get_policy().digest
    for text in ("permit (", 'permit (principal, action == Action::"fly", resource);', "allow;"):
        with pytest.raises(BadRequest) as caught, policy(owner, text):
            raise AssertionError("it was applied")
        assert caught.value.reason == "POLICY_INVALID"
    assert owner.get_policy().digest == before


def test_the_command_line_says_denied(shared_daemon: RunningDaemon) -> None:
    """Exit status 10, the reason code and the policy that said no."""
    arguments = ("--arg", "workspace=docs", "--arg", "path=x", "--arg", "content=x")
    answer = shared_daemon.cli("call", "write_file", *arguments)
    assert answer.status == 10
    assert "FORBIDDEN" in answer.err
    assert "read-only-workspace" in answer.err
    assert answer.out == ""
