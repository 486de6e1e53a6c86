"""Replay: what a set would make of the calls that were made, in both directions."""

import json
from pathlib import Path

import pytest

from stockade.client import Client
from stockade.errors import BadRequest
from stockade.v1 import policy_pb2
from tests.operating.acting import folder, in_folder
from tests.promises.acting import ALONE, add_tool, apply, ask, policy, run
from tests.running import RunningDaemon, finished

READ = {"workspace": "work", "path": "hello.txt"}
NO_READS = (
    '@id("no-reads") forbid (principal, action == Action::"call", resource == Tool::"read_file");'
)
TWO = (
    'forbid (principal, action == Action::"call_attended", resource) '
    "when { context.approver_count < 2 };"
)
UP = '@id("up") forbid (principal, action == Action::"run_in_process", resource);'


@pytest.fixture(scope="module")
def made(owner: Client, approver: Client, caller: Client) -> dict[str, str]:
    """One call of each kind, by what became of it."""
    calls = {}
    apply(owner, "")
    calls["unattended"] = run(owner, "read_file", **READ)[0].call_id
    waiting = ask(owner, "run_shell", command="true")
    approver.answer_approval(waiting.approval, approve=True)
    waiting.end()
    calls["approved"] = waiting.call_id
    waiting = ask(owner, "run_shell", command="id")
    approver.answer_approval(waiting.approval, approve=False)
    waiting.end()
    calls["rejected"] = waiting.call_id
    calls["denied"] = run(approver, "list_files", workspace="work")[0].call_id
    calls["unknown"] = run(caller, "no_such_tool")[0].call_id
    add_tool(owner, "fleeting", ["/bin/true"])
    with policy(owner, ALONE):
        calls["gone"] = run(owner, "fleeting")[0].call_id
    owner.remove_tool("fleeting")
    return calls


def candidate(path: Path, extra: str) -> policy_pb2.PolicySource:
    """The default policies and these."""
    files = in_folder(folder(path / "candidate", extra))
    return policy_pb2.PolicySource(files=policy_pb2.PolicyFiles(files=files))


def replay(
    client: Client, source: policy_pb2.PolicySource, *, recorded: bool = True, limit: int = 0
) -> tuple[
    dict[str, policy_pb2.ReplayPolicyResponse.Change], policy_pb2.ReplayPolicyResponse.Summary
]:
    """The changes by call id, and the summary, which comes last and once."""
    request = policy_pb2.ReplayPolicyRequest(candidate=source, recorded=recorded, limit=limit)
    events = list(client.replay_policy(request))
    assert [event.HasField("summary") for event in events] == [False] * (len(events) - 1) + [True]
    changes = {event.change.call_id: event.change for event in events[:-1]}
    return changes, events[-1].summary


def step(change: policy_pb2.ReplayPolicyResponse.Change) -> tuple[str, str]:
    return change.before.ruling, change.after.ruling


def test_the_set_that_decided_changes_nothing(
    owner: Client, made: dict[str, str], tmp_path: Path
) -> None:
    """Asked again, the policies that decided decide as they did, whatever has changed since."""
    changes, summary = replay(owner, candidate(tmp_path, ""))
    # One call was made under other policies: what it was decided by is not in this set.
    assert set(changes) <= {made["gone"]}
    assert summary.calls == len(made)
    assert summary.same + summary.more + summary.less + sum(p.calls for p in summary.passed) == 6


def test_what_would_be_denied(owner: Client, made: dict[str, str], tmp_path: Path) -> None:
    """Unattended before, forbidden now: less, with the policy that would."""
    changes, summary = replay(owner, candidate(tmp_path, NO_READS))
    change = changes[made["unattended"]]
    assert step(change) == ("unattended", "denied")
    assert (change.less, change.more) == (True, False)
    assert [ref.id for ref in change.after.policies] == ["no-reads"]
    assert [ref.id for ref in change.before.policies] == ["unattended-reads"]
    assert (summary.less, summary.more) == (1, 0)


def test_what_would_be_permitted(owner: Client, made: dict[str, str], tmp_path: Path) -> None:
    """Asked or denied before, unattended now: more, each named."""
    text = ALONE + 'permit (principal, action == Action::"call", resource);'
    changes, summary = replay(owner, candidate(tmp_path, text))
    assert step(changes[made["approved"]]) == ("approved", "unattended")
    assert step(changes[made["rejected"]]) == ("asked", "unattended")
    assert step(changes[made["denied"]]) == ("denied", "unattended")
    assert all(change.more and not change.less for change in changes.values())
    assert summary.more == 3


def test_what_would_be_asked_about(owner: Client, made: dict[str, str], tmp_path: Path) -> None:
    """A person in between where there was none."""
    text = '@id("ask") forbid (principal, action == Action::"call_unattended", resource);'
    changes, _ = replay(owner, candidate(tmp_path, text))
    assert step(changes[made["unattended"]]) == ("unattended", "asked")
    assert changes[made["unattended"]].less


@pytest.mark.parametrize(
    "text",
    [
        TWO,
        'forbid (principal, action == Action::"approve", resource);',
    ],
)
def test_approvals_that_would_not_be_enough(
    owner: Client, made: dict[str, str], tmp_path: Path, text: str
) -> None:
    """The yes that was given would need a second, or would not count at all."""
    changes, _ = replay(owner, candidate(tmp_path, text))
    assert step(changes[made["approved"]]) == ("approved", "asked")
    assert changes[made["approved"]].less


def test_another_tier(owner: Client, made: dict[str, str], tmp_path: Path) -> None:
    """Decided the same, in a stronger sandbox: said as less."""
    changes, _ = replay(owner, candidate(tmp_path, UP))
    change = changes[made["unattended"]]
    assert step(change) == ("unattended", "unattended")
    assert (change.before.tier, change.after.tier) == ("process", "container")
    assert change.less


def test_one_set_against_another(owner: Client, made: dict[str, str], tmp_path: Path) -> None:
    """Against a baseline the difference is the sets' alone, not what was decided then."""
    request = policy_pb2.ReplayPolicyRequest(
        candidate=candidate(tmp_path, NO_READS), baseline=candidate(tmp_path / "..", NO_READS)
    )
    events = list(owner.replay_policy(request))
    assert len(events) == 1
    assert events[0].summary.same >= 4
    assert events[0].summary.baseline_digest == events[0].summary.candidate_digest
    assert made


def test_calls_that_say_nothing_are_counted_with_their_reason(
    owner: Client, made: dict[str, str], tmp_path: Path
) -> None:
    """A tool that is gone, a call that never reached policy: not guessed at, and not left out."""
    _, summary = replay(owner, candidate(tmp_path, NO_READS))
    passed = {one.reason: one.calls for one in summary.passed}
    assert passed == {
        "its tool is not there any more": 1,
        "it was refused before policy was asked": 1,
    }
    assert made


def test_entities_as_they_were(owner: Client, caller: Client, tmp_path: Path) -> None:
    """A caller that has lost its group is asked about as the caller it was."""
    call_id = run(caller, "read_file", **READ)[0].call_id
    device = caller.who_am_i().device.device_id
    owner.set_device_groups(device, ["auditors"])
    changes, _ = replay(owner, candidate(tmp_path, ""), limit=1)
    assert call_id not in changes
    owner.set_device_groups(device, ["callers"])


def test_the_time_is_the_calls_own(owner: Client, tmp_path: Path) -> None:
    """A set about the hour is asked about the hour of the call."""
    events = run(owner, "read_file", **READ)
    assert finished(events).reason == "SUCCEEDED"
    second = events[0].time.ToMilliseconds() // 1000
    text = (
        'forbid (principal, action == Action::"call", resource) '
        f"when {{ context.clock.epoch < {second - 60} || context.clock.epoch > {second + 60} }};"
    )
    changes, _ = replay(owner, candidate(tmp_path, text), limit=1)
    assert not changes


def test_a_limit_and_a_set_that_is_not_valid(owner: Client, tmp_path: Path) -> None:
    """So many calls and no more; and no replay of what could never decide."""
    _, summary = replay(owner, candidate(tmp_path, ""), limit=2)
    assert summary.calls == 2
    with pytest.raises(BadRequest) as caught:
        replay(owner, candidate(tmp_path, "permit ("))
    assert caught.value.reason == "POLICY_INVALID"


def test_nothing_is_changed_by_it(owner: Client, tmp_path: Path) -> None:
    """No receipt, no version."""
    before = owner.status()
    replay(owner, candidate(tmp_path, NO_READS))
    after = owner.status()
    assert after.ledger_sequence == before.ledger_sequence
    assert after.policy_digest == before.policy_digest


@pytest.mark.usefixtures("made")
def test_the_command_line(shared_daemon: RunningDaemon, owner: Client, tmp_path: Path) -> None:
    """Replay and diff: what is otherwise, in which direction, and what that is based on."""
    apply(owner, "")
    same = folder(tmp_path / "same")
    more = folder(tmp_path / "more", ALONE)
    shown = shared_daemon.cli("policy", "replay", str(more))
    assert shown.status == 1
    assert "could do more:" in shown.out
    assert "approved (APPROVED) in process -> unattended (PERMITTED) in process" in shown.out
    assert "alone (extra.cedar:1)" in shown.out
    assert "what nobody has called yet is not in this" in shown.err
    lines = shared_daemon.cli("policy", "replay", str(more), "--json").lines()
    assert lines[-1]["event"] == "summary"
    assert shared_daemon.cli("policy", "replay", str(same), "--against", "now").status == 0
    differs = shared_daemon.cli("policy", "diff", "now", str(more))
    assert differs.status == 1
    assert "added    permit alone (extra.cedar:1)  (could permit more)" in differs.out
    assert "+" + ALONE in differs.out.splitlines()
    assert "could do more:" in differs.out
    # One that is named alone is what would come, not what was.
    assert shared_daemon.cli("policy", "diff", str(more)).out == differs.out
    number = str(owner.status().policy_version)
    assert shared_daemon.cli("policy", "diff", number, "now").status == 0
    fewer = shared_daemon.cli("policy", "diff", str(more), str(same))
    assert "no change could permit what was not permitted" in fewer.out
    document = json.loads(shared_daemon.cli("policy", "diff", "now", str(more), "--json").out)
    assert [change["what"] for change in document["changes"]] == ["added"]
    assert document["replay"]["more"] >= 2
    assert shared_daemon.cli("policy", "replay", "./nowhere").status == 2
    assert shared_daemon.cli("policy", "replay", "123456").status == 1
