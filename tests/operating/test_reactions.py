"""What alerts bring about by themselves: only what policy permits the rule, recorded, undoable."""

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pytest

from daemon.alerts.reacting import MOST_IN_A_MINUTE
from stockade.client import Client
from stockade.errors import StockadeError
from stockade.home import Home
from tests.approvals.leasing import asked, give
from tests.attacks.enrolling import enroll_agent
from tests.promises.acting import (
    ALONE,
    apply,
    connect,
    entries,
    export,
    policy,
    run,
    sleepers,
    until,
)
from tests.running import CONFIG, RunningDaemon, finished, local_device, running

BURST = 5
REACTIONS = f"""
[alerts]
denied_per_minute = {BURST}
reactions = ["suspend_principal", "revoke_leases", "start_maintenance"]
"""
RULE = 'AlertRule::"denied_burst"'


def permit(action: str, resource: str = "resource") -> str:
    """Everything runs unattended, and the rule may do this."""
    named = f'permit (principal == {RULE}, action == Action::"{action}", {resource});'
    return f'{ALONE}\n@id("reacts") {named}'


@pytest.fixture(scope="module")
def daemon() -> Iterator[RunningDaemon]:
    with running(CONFIG + REACTIONS) as made:
        yield made


@pytest.fixture(scope="module")
def owner(daemon: RunningDaemon) -> Iterator[Client]:
    with daemon.client() as client:
        yield client


def provoke(daemon: RunningDaemon, home: Home) -> str:
    """A burst of refusals of this principal; its name."""
    with connect(home, daemon) as client:
        me = client.who_am_i().principal
        for _ in range(BURST):
            try:
                run(client, "no_such_tool")
            except StockadeError as error:
                assert error.reason == "PRINCIPAL_SUSPENDED"  # noqa: PT017 - by the last, perhaps
    return me


def reactions(client: Client, subject: str) -> list[dict[str, Any]]:
    """What was recorded of alerts about somebody."""
    found = [one["body"] for one in entries(export(client)) if one["kind"] == "alert.reaction"]
    return [one for one in found if one["subject"] == subject]


def reacted(client: Client, subject: str, act: str) -> str:
    """How the reaction ended, once it has."""

    def results() -> list[str]:
        return [one["result"] for one in reactions(client, subject) if one["act"] == act]

    assert until(lambda: bool(results()))
    [result] = results()
    return result


def refusal(daemon: RunningDaemon, home: Home) -> str:
    """Why this principal is not served; nothing if it is."""
    try:
        with connect(home, daemon) as client:
            client.who_am_i()
    except StockadeError as error:
        return str(error.reason)
    return ""


def test_an_agent_that_floods_is_shut_out_and_let_in_again(
    daemon: RunningDaemon, owner: Client
) -> None:
    """Its call is cancelled and its requests refused, across a restart; one command undoes it."""
    agent = enroll_agent(daemon, "flooder")
    mark = f"51{daemon.pid}"
    with policy(owner, permit("suspend_principal", "resource is Agent")):
        with connect(agent.home, daemon) as client:
            running_call = client.call("run_shell", {"command": f"sleep {mark}"}, detach=True)
            next(iter(running_call))
            assert until(lambda: bool(sleepers(mark)))
            name = provoke(daemon, agent.home)
            assert reacted(owner, name, "suspend_principal") == "DONE"
            assert until(lambda: not sleepers(mark))
        assert refusal(daemon, agent.home) == "PRINCIPAL_SUSPENDED"
        [status] = [one.status for one in owner.list_agents() if one.agent_id == agent.id]
        assert status == "suspended"
        [recorded] = reactions(owner, name)
        assert recorded["principal"] == "alert/denied_burst"
        assert recorded["policies"] == ["reacts"]
        assert recorded["alert"] > 0
        kinds = [
            one["kind"] for one in entries(export(owner)) if one["body"].get("subject") == name
        ]
        assert kinds == ["principal.suspended", "alert.reaction"]
    shown = daemon.cli("agents", "resume", "flooder")
    assert shown.status == 0, shown.err
    assert refusal(daemon, agent.home) == ""


def test_a_suspension_outlives_the_daemon() -> None:
    """A device is out after a restart too, with its agents, until it is resumed by its name."""
    with running(CONFIG + REACTIONS) as daemon:
        phone = daemon.pair_device("phone", "callers")
        agent = enroll_agent(daemon, "robot", phone)
        with daemon.client() as owner, policy(owner, permit("suspend_principal")):
            name = provoke(daemon, phone)
            assert reacted(owner, name, "suspend_principal") == "DONE"
            assert refusal(daemon, agent.home) == "PRINCIPAL_SUSPENDED"
        daemon.restart(9)
        assert refusal(daemon, phone) == "PRINCIPAL_SUSPENDED"
        assert refusal(daemon, agent.home) == "PRINCIPAL_SUSPENDED"
        listed = daemon.cli("devices", "list", "--json").lines()
        assert {one["name"]: one["status"] for one in listed}["phone"] == "suspended"
        answer = daemon.cli("devices", "resume", "phone", "--json")
        assert json.loads(answer.out)["receipt"]["kind"] == "principal.resumed"
        assert refusal(daemon, phone) == refusal(daemon, agent.home) == ""
        again = daemon.cli("devices", "resume", "phone")
        assert again.status != 0
        assert "NOT_SUSPENDED" in again.err


def test_a_device_that_holds_connections_is_shut_out_if_policy_says_so() -> None:
    """By the rule about connections, and not by the other rules, which have no such permit."""
    permitted = permit("suspend_principal").replace(RULE, 'AlertRule::"connections_held"')
    with running(f"{CONFIG}{REACTIONS}[rates]\nopen_connections = 4\n") as daemon:
        holder = daemon.pair_device("holder", "callers")
        with daemon.client() as owner, policy(owner, permitted), ExitStack() as held:
            *clients, last = [held.enter_context(connect(holder, daemon)) for _ in range(5)]
            name = {client.who_am_i().principal for client in clients}.pop()
            with pytest.raises(StockadeError) as refused:
                last.who_am_i()
            assert refused.value.reason == "TOO_MANY_CONNECTIONS"
            assert reacted(owner, name, "suspend_principal") == "DONE"
            [recorded] = reactions(owner, name)
            assert recorded["principal"] == "alert/connections_held"
            held.close()
            assert until(lambda: refusal(daemon, holder) == "PRINCIPAL_SUSPENDED")
            talker = daemon.pair_device("talker", "callers")
            provoke(daemon, talker)
            assert refusal(daemon, talker) == ""


def test_without_a_permit_an_alert_brings_nothing_about(
    daemon: RunningDaemon, owner: Client
) -> None:
    """The configuration names it, but policy permits it to no rule; or a forbid wins."""
    agent = enroll_agent(daemon, "tolerated")
    forbid = f"forbid (principal == {RULE}, action, resource is Agent);"
    with policy(owner, permit("suspend_principal") + forbid):
        name = provoke(daemon, agent.home)
        # Alerts are dealt with in order: when this one's reaction is there, the other was decided.
        marker = daemon.pair_device("marker", "callers")
        assert reacted(owner, provoke(daemon, marker), "suspend_principal") == "DONE"
    assert reactions(owner, name) == []
    assert refusal(daemon, agent.home) == ""


def test_the_operator_is_never_shut_out(daemon: RunningDaemon, owner: Client) -> None:
    """Whatever policy permits: not the daemon's own machine, and this is recorded."""
    with policy(owner, permit("suspend_principal")):
        name = provoke(daemon, daemon.home)
        assert reacted(owner, name, "suspend_principal") == "LOCAL_DEVICE"
    assert local_device(owner).name == "local"


def test_leases_end_and_nothing_else(daemon: RunningDaemon, owner: Client) -> None:
    """Where policy permits that alone: it is asked about again, and goes on calling."""
    caller = daemon.pair_device("leased", "callers", "approvers")
    with policy(
        owner,
        f'@id("r") permit (principal == {RULE}, action == Action::"revoke_leases", resource);',
    ):
        with connect(caller, daemon) as client:
            give(client, owner, "run_shell", command="true")
            assert not asked(client, "run_shell", command="true")
            name = provoke(daemon, caller)
            assert reacted(owner, name, "revoke_leases") == "DONE"
            assert asked(client, "run_shell", command="true")
        ended = [one["body"] for one in entries(export(owner)) if one["kind"] == "lease.revoked"]
        assert [one["principal"] for one in ended] == ["alert/denied_burst"]


def test_maintenance_begins_and_an_owner_ends_it(daemon: RunningDaemon, owner: Client) -> None:
    """Nobody but owners can call meanwhile; `policy maintenance off` is the way back."""
    caller = daemon.pair_device("loud", "callers")
    with policy(owner, permit("start_maintenance")) as digest:
        name = provoke(daemon, caller)
        assert reacted(owner, name, "start_maintenance") == "DONE"
        [decided] = reactions(owner, name)
        assert decided["policy_digest"] == digest != owner.status().policy_digest
        with connect(caller, daemon) as client:
            assert finished(run(client, "run_shell", command="true")).reason == "FORBIDDEN"
        assert finished(run(owner, "run_shell", command="true")).reason == "SUCCEEDED"
        off = daemon.cli("policy", "maintenance", "off")
        assert off.status == 0, off.err
        with connect(caller, daemon) as client:
            assert finished(run(client, "run_shell", command="true")).reason == "SUCCEEDED"


def test_maintenance_that_nobody_could_end_does_not_begin(
    daemon: RunningDaemon, owner: Client
) -> None:
    """A policy that lets nobody end it again would lock everybody out: recorded, not done."""
    caller = daemon.pair_device("locking", "callers")
    locking = 'forbid (principal, action == Action::"set_maintenance", resource);'
    with policy(owner, permit("start_maintenance") + locking):
        name = provoke(daemon, caller)
        assert reacted(owner, name, "start_maintenance") == "MAINTENANCE_LOCKS_OUT"
        assert finished(run(owner, "run_shell", command="true")).reason == "SUCCEEDED"


def test_nobody_is_shut_out_whom_nobody_could_let_in(daemon: RunningDaemon, owner: Client) -> None:
    """Where policy lets nobody resume, nobody is suspended."""
    agent = enroll_agent(daemon, "stranded")
    locking = 'forbid (principal, action == Action::"resume_principal", resource);'
    with policy(owner, permit("suspend_principal") + locking):
        name = provoke(daemon, agent.home)
        assert reacted(owner, name, "suspend_principal") == "SUSPENSION_LOCKS_OUT"
    assert refusal(daemon, agent.home) == ""
    apply(owner, "")


def test_the_last_owner_is_never_shut_out(daemon: RunningDaemon, owner: Client) -> None:
    """Though it is another device than the daemon's own, which is no owner any more."""
    boss = daemon.pair_device("boss", "owners")
    with policy(owner, permit("suspend_principal")), connect(boss, daemon) as client:
        local = local_device(owner).device_id
        client.set_device_groups(local, ["callers"])
        try:
            name = provoke(daemon, boss)
            assert reacted(client, name, "suspend_principal") == "LAST_OWNER"
        finally:
            client.set_device_groups(local, ["owners"])
    assert refusal(daemon, boss) == ""


def test_whoever_provokes_many_alerts_makes_it_work_no_more_than_so_often(
    daemon: RunningDaemon, owner: Client
) -> None:
    """Ten reactions a minute; beyond that each is recorded as not done, and nobody is shut out."""
    agents = [enroll_agent(daemon, f"many-{number}") for number in range(MOST_IN_A_MINUTE + 2)]
    began = time.monotonic()
    with policy(owner, permit("suspend_principal")), ThreadPoolExecutor(len(agents)) as threads:
        names = list(threads.map(lambda agent: provoke(daemon, agent.home), agents))
        results = [reacted(owner, name, "suspend_principal") for name in names]
    minutes = 1 + (time.monotonic() - began) // 60  # more than one where the machine is that busy
    assert set(results) <= {"DONE", "REACTIONS_EXHAUSTED"}
    assert results.count("DONE") <= MOST_IN_A_MINUTE * minutes
    assert minutes > 1 or "REACTIONS_EXHAUSTED" in results
    for agent, result in zip(agents, results, strict=True):
        assert refusal(daemon, agent.home) == ("PRINCIPAL_SUSPENDED" if result == "DONE" else "")
