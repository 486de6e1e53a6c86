"""Maintenance: one switch, and a plain policy that forbids by it."""

import pytest

from stockade.client import Client
from stockade.errors import Conflict, NotFound, NotPermitted
from stockade.home import Home
from stockade.v1 import call_pb2
from tests.operating.acting import last_receipt
from tests.promises.acting import apply, ask, policy, policy_files, run
from tests.running import RunningDaemon, finished

READ = {"workspace": "work", "path": "hello.txt"}
LOCKED = '@id("locked") forbid (principal, action, resource) when { context.maintenance };'


def test_owners_alone_do_anything(owner: Client, caller: Client, approver: Client) -> None:
    """While it is on, others are denied by the policy `maintenance`; then all is as before."""
    waiting = ask(owner, "run_shell", command="true")
    owner.set_maintenance(on=True)
    assert owner.status().maintenance
    end = finished(run(caller, "read_file", **READ))
    assert (end.state, end.reason) == (call_pb2.CALL_STATE_DENIED, "FORBIDDEN")
    assert "maintenance (administration.cedar:" in end.message
    assert finished(run(owner, "read_file", **READ)).state == call_pb2.CALL_STATE_SUCCEEDED
    with pytest.raises(NotPermitted):
        approver.list_approvals()
    with pytest.raises(NotFound):  # who may not see it does not learn that it is there
        approver.answer_approval(waiting.approval, approve=True)
    owner.set_maintenance(on=False)
    assert not owner.status().maintenance
    assert finished(run(caller, "read_file", **READ)).state == call_pb2.CALL_STATE_SUCCEEDED
    approver.answer_approval(waiting.approval, approve=True)
    assert waiting.end().state == call_pb2.CALL_STATE_SUCCEEDED


def test_everyone_still_learns_of_it_and_stays_paired(
    shared_daemon: RunningDaemon, owner: Client, approver_home: Home
) -> None:
    """Status, whoami and the renewal of a certificate go on, or a long one would unpair devices."""
    owner.set_maintenance(on=True)
    with Client.open(approver_home) as device:
        assert device.status().maintenance
        assert device.who_am_i().device.name == "approver"
        before = device.credentials.certificate
        assert device.renew_certificate(approver_home).certificate != before
    assert "maintenance" in shared_daemon.cli("status", home=approver_home).out
    owner.set_maintenance(on=False)


def test_it_is_another_digest_and_a_receipt(owner: Client) -> None:
    """What is decided in maintenance carries a digest of its own; both turns are recorded."""
    before = owner.status().policy_digest
    on = owner.set_maintenance(on=True)
    assert on.policy_digest == owner.status().policy_digest != before
    assert last_receipt(owner, "policy.maintenance")["on"] is True
    off = owner.set_maintenance(on=False)
    assert off.policy_digest == before
    body = last_receipt(owner, "policy.maintenance")
    assert (body["on"], body["principal"]) == (False, owner.who_am_i().principal)
    causes = [one.cause for one in owner.list_policy_versions().versions[:2]]
    assert causes == ["maintenance", "maintenance"]


def test_a_switch_that_no_policy_heeds_is_refused(owner: Client) -> None:
    """With a set that does not read `context.maintenance`, on would mean nothing: it stays off."""
    files = [file for file in policy_files("") if file.name != "administration.cedar"]
    files += [
        type(files[0])(
            name="own.cedar",
            text=(
                '// context.maintenance, "context.maintenance"\n'
                "permit (principal, action, resource);\n"
                'forbid (principal, action == Action::"call", resource) when '
                '{ context.origin == "maintenance" };\n'
                "permit (principal, action, resource) when { context.maintenance };"
            ),
        )
    ]
    owner.apply_policy(files)
    with pytest.raises(Conflict) as caught:
        owner.set_maintenance(on=True)
    assert caught.value.reason == "MAINTENANCE_UNHEEDED"
    assert not owner.status().maintenance
    apply(owner, "")


def test_a_switch_that_could_not_be_turned_back_is_refused(owner: Client) -> None:
    """A policy that forbids everybody everything in maintenance would forbid to end it, too."""
    with policy(owner, LOCKED):
        with pytest.raises(Conflict) as caught:
            owner.set_maintenance(on=True)
        assert caught.value.reason == "MAINTENANCE_LOCKS_OUT"
        assert not owner.status().maintenance


def test_it_outlives_a_restart(daemon: RunningDaemon) -> None:
    """A restart is what maintenance is for: it does not end it."""
    home = daemon.pair_device("caller", "callers")
    with daemon.client() as owner:
        owner.set_maintenance(on=True)
    daemon.restart()
    shown = daemon.cli("call", "read_file", "--arg", "workspace=work", "--arg", "path=hello.txt")
    assert shown.status == 0
    with daemon.client() as owner:
        assert owner.status().maintenance
    answer = daemon.cli("policy", "maintenance")
    assert answer.out == "maintenance is on\n"
    assert home.client.is_dir()
    assert daemon.cli("policy", "maintenance", "off").out == "maintenance is off\n"
    [said] = daemon.cli("policy", "maintenance", "--json").lines()
    assert said == {"on": False}
    assert daemon.cli("policy", "maintenance", "maybe").status == 2
