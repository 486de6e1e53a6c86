"""Leases after a restart, and after somebody's hand in the database."""

from dataclasses import replace
from typing import Any

import pytest

from stockade.approving import sign_lease
from stockade.client import Client, new_call_id
from stockade.home import Home
from tests.approvals.leasing import asked, give
from tests.attacks.editing import edit
from tests.promises.acting import apply, connect, until
from tests.running import RunningDaemon

TRUE: Any = {"command": "true"}
# All that the default policy keeps a device from doing with a call of its own.
GENEROUS = """
permit (principal, action, resource) unless { action == Action::"call_unattended" };
"""


def test_a_lease_survives_a_restart_with_its_count(daemon: RunningDaemon) -> None:
    """Uses taken before are taken after; what was revoked stays revoked."""
    home = daemon.pair_device("approver", "approvers")
    with daemon.client() as owner, Client.open(home) as approver:
        give(owner, approver, "run_shell", uses=2, **TRUE)
        gone = give(owner, approver, "run_shell", command="id")
        approver.revoke_lease(gone.lease_id)
        assert not asked(owner, "run_shell", command="true")
    daemon.restart(9)
    with daemon.client() as owner:
        assert asked(owner, "run_shell", command="id")
        assert not asked(owner, "run_shell", command="true")
        assert asked(owner, "run_shell", command="true")


@pytest.mark.parametrize(
    "changed",
    [
        "uses = 0",
        "max_uses = 100",
        "expires_ms = expires_ms + 3600000",
        "terms = CAST(replace(CAST(terms AS TEXT), 'true', 'sudo') AS BLOB)",
        "principal = 'device/dev-aaaaaaaaaaaaaaaa'",
        "signature = x'00'",
        "created_ms = expires_ms - 1000",
        "signer = 'dev-aaaaaaaaaaaaaaaa'",
    ],
)
def test_a_lease_edited_by_hand_is_void(
    initialised_once: "tuple[RunningDaemon, Home]", changed: str
) -> None:
    """More uses or time, other arguments, another holder or signer: the next start finds it."""
    daemon, home = initialised_once
    with daemon.client() as owner, connect(home, daemon) as approver:
        terms = give(owner, approver, "run_shell", **TRUE)
        assert not asked(owner, "run_shell", command="true")
    daemon.stop()
    statement = f"UPDATE leases SET {changed} WHERE lease_id = ?"  # noqa: S608 - our own
    assert edit(daemon, statement, terms.lease_id) == 1
    daemon.start()
    with daemon.client() as owner:
        assert asked(owner, "run_shell", command="true")
        [ended] = [one for one in owner.list_leases(ended=True) if one.lease_id == terms.lease_id]
        assert (ended.state, ended.reason) == ("void", "LEASE_DAMAGED")


def test_an_end_by_another_hand_keeps_no_other_lease_from_its_end(daemon: RunningDaemon) -> None:
    """One whose row says that it has ended, one whose row is gone: the third ends in its time."""
    home = daemon.pair_device("approver", "approvers")
    with daemon.client() as owner, Client.open(home) as approver:
        commands = ("true", "id", "pwd")
        first, second, third = (
            give(owner, approver, "run_shell", seconds=8, command=one).lease_id for one in commands
        )
        assert edit(daemon, "UPDATE leases SET state = 'revoked' WHERE lease_id = ?", first) == 1
        assert edit(daemon, "DELETE FROM leases WHERE lease_id = ?", second) == 1

        def ended() -> dict[str, str]:
            return {one.lease_id: one.state for one in owner.list_leases(ended=True)}

        assert until(lambda: ended().get(third) == "expired")


@pytest.fixture(scope="module")
def initialised_once(shared_daemon: RunningDaemon) -> "tuple[RunningDaemon, Home]":
    return shared_daemon, shared_daemon.pair_device("editor", "approvers")


def test_a_count_set_back_while_it_runs_gives_no_use_again(
    shared_daemon: RunningDaemon, approver_home: Home
) -> None:
    """Somebody writes the count back: no number of a use is given twice."""
    with shared_daemon.client() as owner, connect(approver_home, shared_daemon) as approver:
        terms = give(owner, approver, "run_shell", uses=2, **TRUE)
        assert not asked(owner, "run_shell", command="true")
        edit(shared_daemon, "UPDATE leases SET uses = 0 WHERE lease_id = ?", terms.lease_id)
        edit(shared_daemon, "DELETE FROM lease_uses WHERE lease_id = ?", terms.lease_id)
        assert asked(owner, "run_shell", command="true")


def test_a_lease_that_has_ended_is_not_made_to_stand_again(daemon: RunningDaemon) -> None:
    """Revoked or used up, and its row made active by hand: the ledger knows that it ended."""
    home = daemon.pair_device("approver", "approvers")
    with daemon.client() as owner, connect(home, daemon) as approver:
        gone = give(owner, approver, "run_shell", **TRUE)
        approver.revoke_lease(gone.lease_id)
        used = give(owner, approver, "run_shell", command="id", uses=1)
        assert not asked(owner, "run_shell", command="id")
        assert until(lambda: not approver.list_leases())
    daemon.stop()
    edit(daemon, "UPDATE leases SET state = 'active', reason = '', ended_ms = NULL")
    edit(daemon, "UPDATE leases SET uses = 0")
    edit(daemon, "DELETE FROM lease_uses")
    # The receipts of uses are hidden, too: what is left is the one of the end.
    edit(daemon, "UPDATE receipts SET principal = 'nobody' WHERE kind = 'lease.used'")
    daemon.start()
    with daemon.client() as owner:
        assert asked(owner, "run_shell", **TRUE)
        assert asked(owner, "run_shell", command="id")
        ended = {one.lease_id: one.reason for one in owner.list_leases(ended=True)}
        assert ended == {gone.lease_id: "LEASE_DAMAGED", used.lease_id: "LEASE_DAMAGED"}


def test_a_lease_that_its_holder_signed_for_itself_stands_for_nothing(
    daemon: RunningDaemon,
) -> None:
    """A good signature of a paired device in a row that nobody gave: no receipt, no lease."""
    home = daemon.pair_device("approver", "approvers")
    with daemon.client() as owner, connect(home, daemon) as approver:
        given = give(owner, approver, "run_shell", tied=False, **TRUE)
        own = replace(given, lease_id=new_call_id(), exactly={"command": "id"})
        key, certificate = owner.credentials.key, owner.credentials.certificate
        device, signature = owner.credentials.device_id, sign_lease(key, own.encode())
    daemon.stop()
    row = "lease_id = ?, terms = ?, signer = ?, signature = ?, certificate = ?"
    values = (own.lease_id, own.encode(), device, signature, certificate)
    edit(daemon, f"UPDATE leases SET {row}", *values)  # noqa: S608 - our own
    daemon.start()
    with daemon.client() as owner:
        # Not even where policy would let them: nobody answers for a call of their own.
        apply(owner, GENEROUS, default=False)
        assert asked(owner, "run_shell", command="id")
