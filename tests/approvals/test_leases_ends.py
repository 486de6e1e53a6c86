"""What a lease is tied to, what its end leaves alone, and the receipt that each end is."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from stockade.approving import narrowed
from stockade.client import Client, new_call_id
from stockade.errors import StockadeError
from stockade.home import Home
from stockade.lease import LeaseTerms
from stockade.v1 import call_pb2
from tests.approvals.leasing import asked, give, revoke_all
from tests.approvals.test_leases_dodged import ASK
from tests.promises.acting import entries, export, policy, python_tool, until
from tests.running import RunningDaemon, output

TRUE: Any = {"command": "true"}


@pytest.fixture(autouse=True)
def none_left(owner: Client) -> Iterator[None]:
    """Each test begins without leases."""
    yield
    revoke_all(owner)


def test_another_version_of_the_tool_is_asked_about(owner: Client, approver: Client) -> None:
    """One byte of its script is other, and under any policy: only the very same is leased."""
    first, second = "print(1)\n", "print(2)\n"
    with policy(owner, ASK):
        python_tool(owner, "versioned", first)
        give(owner, approver, "versioned", tied=False)
        assert not asked(owner, "versioned")
        python_tool(owner, "versioned", second)
        assert asked(owner, "versioned")
        python_tool(owner, "versioned", first)
        assert not asked(owner, "versioned")


def test_a_running_call_outlives_its_lease_unless_that_is_asked(
    owner: Client, approver: Client, workspace: Path
) -> None:
    """Revoked without `running`: what runs by it runs to its end, and nothing begins by it."""
    gate = workspace / f"gate-{new_call_id()}"
    command = f"echo begun; until [ -e {gate.name} ]; do sleep 0.05; done; echo whole"
    arguments: Any = {"command": command, "workspace": "work"}
    gate.touch()
    try:
        terms = give(owner, approver, "run_shell", **arguments)
        gate.unlink()
        events = owner.call("run_shell", arguments)
        seen = [next(event for event in events if event.HasField("output"))]
        approver.revoke_lease(terms.lease_id)
        assert asked(owner, "run_shell", **arguments)
        gate.touch()
        seen += events
    finally:
        gate.unlink(missing_ok=True)
    assert output(seen) == b"begun\nwhole\n"
    assert seen[-1].finished.state == call_pb2.CALL_STATE_SUCCEEDED


def receipts_of(owner: Client, terms: LeaseTerms) -> list[str]:
    """The kinds of the receipts of a lease itself, oldest first."""
    found = [one for one in entries(export(owner)) if one["kind"].startswith("lease.")]
    return [one["kind"] for one in found if one["body"].get("lease") == terms.lease_id]


def test_each_end_is_one_receipt(
    shared_daemon: RunningDaemon, owner: Client, approver: Client
) -> None:
    """Given, used, used up, run out, revoked, void with its giver: each is in the ledger, once."""
    leaving = shared_daemon.pair_device("leaving", "approvers")
    used = give(owner, approver, "run_shell", uses=1, command="true 1")
    assert not asked(owner, "run_shell", command="true 1")
    expired = give(owner, approver, "run_shell", seconds=5, command="true 2")
    revoked = give(owner, approver, "run_shell", command="true 3")
    approver.revoke_lease(revoked.lease_id)
    with Client.open(leaving) as device:
        void = give(owner, device, "run_shell", command="true 4")
        owner.revoke_device(device.credentials.device_id)
    ends = {
        used.lease_id: ["lease.created", "lease.used", "lease.used-up"],
        expired.lease_id: ["lease.created", "lease.expired"],
        revoked.lease_id: ["lease.created", "lease.revoked"],
        void.lease_id: ["lease.created", "lease.void"],
    }
    assert until(lambda: not owner.list_leases())
    for terms in (used, expired, revoked, void):
        assert receipts_of(owner, terms) == ends[terms.lease_id]


def test_anothers_lease_is_answered_like_one_that_is_not_there(
    shared_daemon: RunningDaemon, owner: Client, approver: Client
) -> None:
    """Who may not see it learns nothing of it by revoking it, or by handing on a part of it."""
    parent = give(owner, approver, "run_shell", **TRUE)
    home: Home = shared_daemon.pair_device("stranger", "callers")
    part = narrowed(parent, "no-agent", expires_ms=parent.expires_ms, uses=1)
    with Client.open(home) as stranger:

        def told(attempt: Any) -> tuple[str, str, str]:
            with pytest.raises(StockadeError) as caught:
                attempt()
            return caught.value.reason, caught.value.message, caught.value.fix

        assert stranger.list_leases() == []
        assert told(lambda: stranger.revoke_lease(parent.lease_id)) == told(
            lambda: stranger.revoke_lease(new_call_id())
        )
        assert told(lambda: stranger.hand_lease(part)) == told(
            lambda: stranger.hand_lease(replace(part, parent="0" * 64))
        )
    assert [one.lease_id for one in owner.list_leases()] == [parent.lease_id]
