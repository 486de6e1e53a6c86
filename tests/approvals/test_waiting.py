"""Durable waiting: a call waits as long as it may, whoever comes and goes, and then wakes."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stockade.approving import sign_answer
from stockade.client import Client, new_call_id
from stockade.errors import ApprovalUnclear, BadRequest, Conflict, StockadeError
from stockade.v1 import approval_pb2, call_pb2
from tests.approvals.leasing import asked, give, terms_for
from tests.attacks.editing import edit
from tests.conftest import config_with
from tests.promises.acting import (
    add_tool,
    answer_raw,
    ask,
    connect,
    kinds,
    policy,
    receipts,
    state,
    until,
)
from tests.running import STOCKADE, RunningDaemon, make_directory, output, running

ASK = 'forbid (principal, action == Action::"call_unattended", resource);'


def left_alone(client: Client, command: str = "echo came back") -> tuple[str, str]:
    """A detached call that its caller left: its id and its approval's."""
    waiting = ask(client, "run_shell", detach=True, command=command)
    waiting.events.cancel()
    return waiting.call_id, waiting.approval.approval_id


def last(client: Client, call_id: str) -> call_pb2.CallEvent.Finished:
    return list(client.watch_call(call_id))[-1].finished


def test_a_call_that_nobody_looks_at_runs_at_the_yes(owner: Client, approver: Client) -> None:
    """The caller left, the approver says yes, the call runs, and the caller finds its output."""
    call_id, approval_id = left_alone(owner)
    time.sleep(1)
    approver.answer_approval(approver.get_approval(approval_id), approve=True)
    events = list(owner.watch_call(call_id))
    assert events[-1].finished.state == call_pb2.CALL_STATE_SUCCEEDED
    assert output(events) == b"came back\n"


def test_the_run_of_a_call_is_not_said_to_be_what_its_approvers_request_was_permitted(
    owner: Client, approver: Client
) -> None:
    """It goes on in the request that brought the yes, whose policy digest is not its own."""
    call_id, approval_id = left_alone(owner)
    time.sleep(1)
    approver.answer_approval(approver.get_approval(approval_id), approve=True)
    assert last(owner, call_id).state == call_pb2.CALL_STATE_SUCCEEDED
    told = {one["kind"]: one["body"] for one in receipts(owner, call_id)}
    assert "policy_digest" in told["approval.answered"]
    for kind in ("call.running", "call.succeeded"):
        assert "policy_digest" not in told[kind], told[kind]


def test_the_callers_terminal_says_what_it_waits_for(
    shared_daemon: RunningDaemon, approver: Client
) -> None:
    """That it waits, until when, who can give it, and where; then the output, and status 0."""
    words = [str(STOCKADE), "call", "run_shell", "--arg", "command=echo given"]
    with subprocess.Popen(
        words,
        env=shared_daemon.environ(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as call:
        assert call.stderr is not None
        told = [call.stderr.readline() for _ in range(3)]
        approval_id = told[2].split()[-1]
        assert told[0].startswith(f"waiting for approval {approval_id[:8]}"), told
        assert " until " in told[0]
        assert told[1].strip() == "who can give it: approver"
        assert told[2].strip() == f"there: stockade approvals show {approval_id}"
        approver.answer_approval(approver.get_approval(approval_id), approve=True)
        out, _ = call.communicate(timeout=180)
    assert (call.returncode, out) == (0, "given\n")


def test_a_caller_that_comes_back_is_told_what_it_waits_for(
    owner: Client, approver: Client
) -> None:
    """Watched by its id, a call says that it waits and for what; then how it ends."""
    call_id, approval_id = left_alone(owner)
    time.sleep(1)
    watch = owner.watch_call(call_id)
    for event in watch:
        if event.HasField("awaiting_approval"):
            break
    assert event.awaiting_approval.approval_id == approval_id
    assert event.awaiting_approval.approvers == ["approver"]
    approver.answer_approval(approver.get_approval(approval_id), approve=True)
    assert list(watch)[-1].finished.state == call_pb2.CALL_STATE_SUCCEEDED


def test_a_call_sent_again_under_its_id_waits_on(owner: Client, approver: Client) -> None:
    """The same request under the same id joins the call that waits; it runs once."""
    call_id = new_call_id()
    command = {"command": "echo twice >> again.txt", "workspace": "work"}
    approvals = set()
    for _ in range(2):
        for event in owner.call("run_shell", command, call_id=call_id, detach=True):
            if event.HasField("awaiting_approval"):
                approvals.add(event.awaiting_approval.approval_id)
                break
        time.sleep(0.5)
    [approval_id] = approvals
    approver.answer_approval(approver.get_approval(approval_id), approve=True)
    assert last(owner, call_id).state == call_pb2.CALL_STATE_SUCCEEDED
    assert kinds(owner, call_id).count("call.running") == 1


def test_a_call_that_waits_alone_is_cancelled(owner: Client, approver: Client) -> None:
    """By its id, at once; a yes after that runs nothing."""
    call_id, approval_id = left_alone(owner)
    time.sleep(1)
    assert owner.cancel_call(call_id).state == call_pb2.CALL_STATE_CANCELLED
    gone = approver.get_approval(approval_id)
    assert gone.state == approval_pb2.APPROVAL_STATE_WITHDRAWN
    with pytest.raises(Conflict):
        approver.answer_approval(gone, approve=True)


def test_calls_that_wait_alone_end_with_their_device(
    shared_daemon: RunningDaemon, owner: Client
) -> None:
    """Revoking a device ends its calls within a second, also those that nobody looks at."""
    home = shared_daemon.pair_device("leaver", "callers", "approvers")
    with Client.open(home) as leaver:
        calls = [left_alone(leaver) for _ in range(5)]
        device_id = leaver.credentials.device_id
    time.sleep(1)
    owner.revoke_device(device_id)
    ended = ("CANCELLED", "DEVICE_REVOKED")
    assert until(lambda: all(state(owner, call_id) == ended for call_id, _ in calls))
    for _, approval_id in calls:
        gone = owner.get_approval(approval_id)
        assert gone.state == approval_pb2.APPROVAL_STATE_WITHDRAWN


def test_calls_that_wait_alone_expire(workspace: Path) -> None:
    """In their time, while the daemon runs and while it does not; as expired, never rejected."""
    config = config_with(workspace) + "[approvals]\nlifetime_seconds = 5\n"
    with running(config) as daemon:
        with daemon.client() as owner:
            first, first_approval = left_alone(owner)
            assert until(lambda: state(owner, first) == ("EXPIRED", "NOBODY_ANSWERED"))
            gone = owner.get_approval(first_approval)
            assert gone.state == approval_pb2.APPROVAL_STATE_EXPIRED
            second, _ = left_alone(owner)
        daemon.stop(signal.SIGKILL)
        time.sleep(5.5)
        daemon.start()
        with daemon.client() as owner:
            assert until(lambda: state(owner, second) == ("EXPIRED", "NOBODY_ANSWERED"))
            assert kinds(owner, second)[-1] == "call.expired"


def test_a_waiting_call_survives_a_kill_of_the_daemon(daemon: RunningDaemon) -> None:
    """Killed and started again, with caller and approver gone meanwhile: the yes still runs it."""
    home = daemon.pair_device("approver", "approvers")
    with daemon.client() as owner:
        call_id, approval_id = left_alone(owner)
    daemon.restart(signal.SIGKILL)
    with daemon.client() as owner, connect(home, daemon) as approver:
        approver.answer_approval(approver.get_approval(approval_id), approve=True)
        assert last(owner, call_id).state == call_pb2.CALL_STATE_SUCCEEDED


@pytest.mark.parametrize("kind", ["BLOB", "TEXT"])
def test_a_statement_edited_while_the_daemon_was_down_is_found(
    daemon: RunningDaemon, kind: str
) -> None:
    """The ledger says what was asked: a row that says otherwise ends its call."""
    home = daemon.pair_device("approver", "approvers")
    with daemon.client() as owner:
        call_id, approval_id = left_alone(owner, "rm -r /workspace")
    daemon.stop()
    changed = f"CAST(replace(CAST(statement AS TEXT), 'rm -r', 'ls -l') AS {kind})"
    assert edit(daemon, f"UPDATE approvals SET statement = {changed}") == 1  # noqa: S608
    daemon.start()
    with daemon.client() as owner, connect(home, daemon) as approver:
        edited = approver.get_approval(approval_id)
        with pytest.raises(ApprovalUnclear):
            approver.answer_approval(edited, approve=True)
        signature = sign_answer(approver.credentials.key, edited.statement, True, "")
        with pytest.raises(Conflict):
            answer_raw(approver, approval_id, signature)
        assert until(lambda: state(owner, call_id) == ("DENIED", "APPROVAL_DAMAGED"))
        assert not approver.list_approvals()


def test_all_that_wait_are_listed_and_watched(daemon: RunningDaemon) -> None:
    """More than a page: the list has each once, page by page, and a watch begins with all."""
    home = daemon.pair_device("approver", "approvers")
    with daemon.client() as owner, Client.open(home) as approver:
        wanted = sorted(left_alone(owner)[1] for _ in range(120))
        assert sorted(one.approval_id for one in approver.all_approvals()) == wanted
        page = approver.page_of_approvals(page_size=50)
        assert len(page.approvals) == 50
        rest = approver.page_of_approvals(page_size=500, page_token=page.next_page_token)
        assert sorted(one.approval_id for one in (*page.approvals, *rest.approvals)) == wanted
        assert not rest.next_page_token
        newest = approver.page_of_approvals(settled=True, page_size=119)
        [last_one] = approver.page_of_approvals(
            settled=True, page_token=newest.next_page_token
        ).approvals
        assert last_one.approval_id == page.approvals[0].approval_id
        watched = approver.watch_approvals()
        seen = [next(iter(watched)).approval.approval_id for _ in wanted]
        watched.cancel()
        assert sorted(seen) == wanted
        with pytest.raises(BadRequest):
            approver.page_of_approvals(page_token="nonsense")


def test_a_clock_set_back_gives_no_time(workspace: Path) -> None:
    """The daemon ends, the clock is set back a minute, it starts: nothing waits longer."""
    root = make_directory()
    shifted = (sys.executable, str(Path(__file__).with_name("shifted_daemon.py")), "-60")
    daemon = RunningDaemon(root, config_with(workspace))
    try:
        daemon.start()
        with daemon.client() as owner:
            call_id, approval_id = left_alone(owner)
        daemon.stop()
        daemon.wrapper = shifted
        daemon.start()
        with daemon.client() as owner:
            assert state(owner, call_id) == ("CANCELLED", "CLOCK_SET_BACK")
            gone = owner.get_approval(approval_id)
            assert gone.state == approval_pb2.APPROVAL_STATE_WITHDRAWN
    finally:
        daemon.stop()
        shutil.rmtree(root, ignore_errors=True)


def test_a_lease_does_not_outlive_a_clock_set_back(workspace: Path) -> None:
    """Nobody can say how long it has stood: after such a start it is void."""
    root = make_directory()
    shifted = (sys.executable, str(Path(__file__).with_name("shifted_daemon.py")), "-60")
    daemon = RunningDaemon(root, config_with(workspace))
    try:
        daemon.start()
        home = daemon.pair_device("approver", "approvers")
        with daemon.client() as owner, connect(home, daemon) as approver:
            give(owner, approver, "run_shell", command="true")
            assert not asked(owner, "run_shell", command="true")
        daemon.stop()
        daemon.wrapper = shifted
        daemon.start()
        with daemon.client() as owner:
            assert asked(owner, "run_shell", command="true")
            ended = owner.list_leases(ended=True)
        assert [(one.state, one.reason) for one in ended] == [("void", "CLOCK_SET_BACK")]
    finally:
        daemon.stop()
        shutil.rmtree(root, ignore_errors=True)


def test_a_stronger_tier_after_a_restart_voids_the_approval(daemon: RunningDaemon) -> None:
    """The operator raised the floors meanwhile: the yes was to a process, not to what it is now."""
    home = daemon.pair_device("approver", "approvers")
    with daemon.client() as owner:
        call_id, approval_id = left_alone(owner)
    daemon.stop()
    with daemon.home.config_file.open("a") as config:
        config.write('[risk]\ncontainer_floor = "0.01"\ngvisor_floor = "0.02"\n')
    daemon.start()
    with daemon.client() as owner, connect(home, daemon) as approver:
        approver.answer_approval(approver.get_approval(approval_id), approve=True)
        end = last(owner, call_id)
        assert end.state == call_pb2.CALL_STATE_DENIED
        assert end.reason in ("APPROVAL_VOID", "TIER_UNAVAILABLE")
        assert "call.running" not in kinds(owner, call_id)


def test_a_tool_replaced_meanwhile_voids_what_waits_alone(owner: Client, approver: Client) -> None:
    """What nobody looks at is judged by what was shown, too."""
    with policy(owner, ASK):
        add_tool(owner, "aside", ["/bin/echo", "first"])
        waiting = ask(owner, "aside", detach=True)
        waiting.events.cancel()
        time.sleep(1)
        add_tool(owner, "aside", ["/bin/echo", "second"])
        approver.answer_approval(waiting.approval, approve=True)
        assert until(lambda: state(owner, waiting.call_id) == ("DENIED", "APPROVAL_VOID"))
        assert "call.running" not in kinds(owner, waiting.call_id)


@pytest.mark.parametrize("how", ["once", "silent"])
def test_an_answer_whose_commit_lies_still_wakes_its_call(workspace: Path, how: str) -> None:
    """A yes that is on the disk although the disk said no runs its call, without a restart."""
    root = make_directory()
    flag = root / "lie"
    wrapper = (sys.executable, str(Path(__file__).with_name("faulty_daemon.py")), str(flag), how)
    daemon = RunningDaemon(root, config_with(workspace), wrapper=wrapper)
    try:
        daemon.start()
        home = daemon.pair_device("approver", "approvers")
        with daemon.client() as owner, Client.open(home) as approver:
            waiting = ask(owner, "run_shell", command="echo woken")
            terms = terms_for(waiting)
            flag.touch()
            if how == "once":
                approver.answer_approval(waiting.approval, approve=True, lease=terms)
            else:
                with pytest.raises(StockadeError) as caught:
                    approver.answer_approval(waiting.approval, approve=True, lease=terms)
                assert caught.value.reason == "STORE_IO"
            assert not flag.exists()
            assert waiting.end().state == call_pb2.CALL_STATE_SUCCEEDED
            assert output(waiting.rest) == b"woken\n"
            [answered] = [
                one
                for one in receipts(owner, waiting.call_id)
                if one["kind"] == "approval.answered"
            ]
            assert answered["body"]["answer"] == "approve"
            # And the lease that was given with it stands.
            assert not asked(owner, "run_shell", command="echo woken")
    finally:
        daemon.stop()
        shutil.rmtree(root, ignore_errors=True)
