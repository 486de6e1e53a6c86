"""Suggested policies, against the running daemon: what is suggested, and who applies it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from stockade.client import Client
from stockade.errors import NotPermitted
from stockade.v1 import policy_pb2
from tests.approvals.leasing import asked
from tests.attacks.editing import edit
from tests.attacks.enrolling import enroll_agent
from tests.promises.acting import ask, policy
from tests.running import RunningDaemon

Suggestion = policy_pb2.SuggestPolicyResponse.Suggestion


@pytest.fixture(autouse=True)
def the_default_policy(owner: Client) -> Iterator[None]:
    """Each test leaves the policies as they were."""
    with policy(owner, ""):
        yield


def approve(caller: Client, approver: Client, times: int, command: str) -> None:
    """The same call, asked about and approved so many times."""
    for _ in range(times):
        waiting = ask(caller, "run_shell", command=command)
        approver.answer_approval(waiting.approval, approve=True)
        waiting.end()


def suggested(client: Client, command: str) -> list[Suggestion]:
    found = client.suggest_policy().suggestions
    return [one for one in found if one.arguments == f'{{"command":"{command}"}}'.encode()]


def applied(client: Client, one: Suggestion) -> None:
    """Beside the policies in force, as the command line does it."""
    files = {file.name: file.text for file in client.get_policy().files}
    files[one.file] = files.get(one.file, "") + one.text
    client.apply_policy([policy_pb2.PolicyFile(name=n, text=t) for n, t in files.items()])


def test_three_equal_yeses_make_a_suggestion_that_would_have_answered(
    owner: Client, approver: Client
) -> None:
    """Two do not; it names call, caller and approver, passes the checker, changes nothing; applied,
    the very call runs unasked, and one byte more is asked about.
    """
    approve(owner, approver, 2, "true 1")
    assert suggested(owner, "true 1") == []
    approve(owner, approver, 1, "true 1")
    before = owner.status().policy_digest
    [one] = suggested(owner, "true 1")
    assert (one.times, one.tool, one.principal) == (3, "run_shell", owner.who_am_i().principal)
    assert list(one.approver_names) == ["approver"]
    assert len(one.call_ids) == 3
    assert not one.problems
    assert owner.status().policy_digest == before
    assert asked(owner, "run_shell", command="true 1")
    applied(owner, one)
    assert not asked(owner, "run_shell", command="true 1")
    for other in ("true 1 ", "true 11", "true 2", "TRUE 1"):
        assert asked(owner, "run_shell", command=other)
    assert asked(owner, "run_shell", command="true 1", workspace="work")
    assert suggested(owner, "true 1") == []


def test_who_may_not_change_policy_applies_none(owner: Client, approver: Client) -> None:
    """An approver does not even read policy by default; nobody but an owner applies one."""
    approve(owner, approver, 3, "true 3")
    [one] = suggested(owner, "true 3")
    with pytest.raises(NotPermitted):
        approver.suggest_policy()
    with pytest.raises(NotPermitted):
        approver.apply_policy([policy_pb2.PolicyFile(name=one.file, text=one.text)])


def test_what_a_forbid_wants_asked_about_is_not_suggested(owner: Client, approver: Client) -> None:
    """A policy that would change nothing is none; the reason is told."""
    approve(owner, approver, 3, "true 4")
    forbid = '@id("ask") forbid (principal, action == Action::"call_unattended", resource);'
    with policy(owner, forbid):
        answer = owner.suggest_policy()
    assert not [one for one in answer.suggestions if b"true 4" in one.arguments]
    assert "a policy forbids that it runs unattended" in [one.reason for one in answer.passed]


def test_an_agents_call_is_suggested_for_it_and_its_device(
    shared_daemon: RunningDaemon, owner: Client, approver: Client
) -> None:
    """Policy asks about both, so there are two permits; another agent of the device has none."""
    worker = enroll_agent(shared_daemon, "worker")
    other = enroll_agent(shared_daemon, "other")
    with worker.client() as agent, other.client() as another:
        for _ in range(3):
            events = agent.call("run_shell", {"command": "true 5"})
            for event in events:
                if event.HasField("awaiting_approval"):
                    approval = approver.get_approval(event.awaiting_approval.approval_id)
                    approver.answer_approval(approval, approve=True)
        [one] = suggested(owner, "true 5")
        assert one.text.count("@id(") == 2
        applied(owner, one)
        assert not asked(agent, "run_shell", command="true 5")
        assert asked(another, "run_shell", command="true 5")


def test_yeses_that_no_receipt_bears_out_count_for_nothing(
    shared_daemon: RunningDaemon, owner: Client, approver: Client
) -> None:
    """Approvals that a hand in the database turned into used ones make no suggestion."""
    approve(owner, approver, 1, "true 6")
    for _ in range(2):
        waiting = ask(owner, "run_shell", command="true 6")
        owner.cancel_call(waiting.call_id)
        waiting.end()
        approval_id = waiting.approval.approval_id
        assert edit(
            shared_daemon,
            "UPDATE approvals SET state = 'used' WHERE approval_id = ?",
            approval_id,
        )
    assert suggested(owner, "true 6") == []


def test_the_command_line_shows_writes_and_applies(
    shared_daemon: RunningDaemon, owner: Client, approver: Client, tmp_path: Path
) -> None:
    """Shown with its text; added to a folder if that is said; in force if told to."""
    approve(owner, approver, 3, "true 7")
    [one] = suggested(owner, "true 7")
    before = owner.status().policy_digest
    shown = shared_daemon.cli("approvals", "suggest")
    assert shown.status == 0
    assert one.id in shown.out
    assert "approved    3 times" in shown.out
    assert max(map(len, shown.out.splitlines())) <= 120
    (tmp_path / "approved.cedar").write_text("// mine\n")
    written = shared_daemon.cli("approvals", "suggest", one.id, "--write", str(tmp_path))
    assert written.status == 0
    assert (tmp_path / "approved.cedar").read_text() == f"// mine\n\n{one.text}"
    assert shared_daemon.cli("approvals", "suggest", "--apply").status == 2
    assert shared_daemon.cli("approvals", "suggest", "approved-none", "--apply").status == 2
    assert owner.status().policy_digest == before
    done = shared_daemon.cli("approvals", "suggest", one.id, "--apply", "--yes")
    assert done.status == 0, done.err
    assert not asked(owner, "run_shell", command="true 7")
