"""What a paired device that may do nothing learns of the daemon by asking how it is."""

import re
from collections.abc import Iterator

import pytest

from stockade.client import Client
from stockade.v1 import daemon_pb2
from tests.attacks.enrolling import enroll_agent
from tests.running import RunningDaemon

# Where things are, what the tiers are made of, what of it has published escapes, what is wrong.
TOLD_TO_ALL = {
    *("version", "started", "address", "policy_digest", "policy_version", "policy_folder"),
    *("policy_state", "maintenance", "tools", "refused_tools", "health", "running_calls"),
    *("pending_approvals", "ledger_chain", "ledger_sequence", "ledger_state", "tiers", "vault"),
    *("ledger_checkpoint", "reduced"),
}


def texts(message: object) -> Iterator[str]:
    """Every text in an answer, at any depth."""
    for field, value in message.ListFields():  # type: ignore[attr-defined]
        for one in value if field.is_repeated else [value]:
            if field.message_type is not None:
                yield from texts(one)
            elif isinstance(one, str):
                yield one


@pytest.fixture(scope="module")
def owners_answer(shared_daemon: RunningDaemon) -> daemon_pb2.GetStatusResponse:
    with shared_daemon.client() as owner:
        return owner.status()


@pytest.mark.parametrize("group", ["", "callers", "approvers", "auditors", "operators"])
def test_only_who_may_administer_is_told_what_the_daemon_is_made_of(
    shared_daemon: RunningDaemon, owners_answer: daemon_pb2.GetStatusResponse, group: str
) -> None:
    """No path, engine, control or reason; that it serves, and which tiers work, as before."""
    home = shared_daemon.pair_device(f"asks-{group or 'nothing'}", *([group] if group else []))
    with Client.open(home) as client:
        answer = client.status()
    assert answer.reduced
    assert not owners_answer.reduced
    assert owners_answer.engines
    assert owners_answer.data_directory == str(shared_daemon.home.data)
    assert {field.name for field, _ in answer.ListFields()} <= TOLD_TO_ALL
    assert not [text for text in texts(answer) if "/" in text or " " in text]
    works = {tier.name: tier.works for tier in answer.tiers}
    assert works == {tier.name: tier.works for tier in owners_answer.tiers}
    assert not [tier for tier in answer.tiers if tier.missing or tier.controls]
    assert (answer.health, answer.ledger_state, answer.policy_state) == ("ok", "ok", "ok")
    assert answer.version == owners_answer.version
    assert answer.vault.available


def test_an_agent_is_told_no_more_than_a_stranger(shared_daemon: RunningDaemon) -> None:
    """Not even an owner's: what the daemon is made of is an escape's first question."""
    bot = enroll_agent(shared_daemon, "status-bot", shared_daemon.home)
    with Client.open(bot.home) as client:
        answer = client.status()
    assert answer.reduced
    assert not answer.engines
    assert answer.data_directory == ""


def test_the_command_line_says_that_something_was_left_out(shared_daemon: RunningDaemon) -> None:
    """`status` and `doctor` of such a device are of use, and say who can see the rest."""
    home = shared_daemon.pair_device("plain")
    status = shared_daemon.cli("status", home=home)
    assert status.status == 0, status.err
    assert "tier process" in status.out
    assert "left out" in status.out
    assert "owner" in status.out
    assert max(map(len, status.out.splitlines())) <= 80
    (told,) = shared_daemon.cli("status", "--json", home=home).lines()
    assert told["reduced"] is True
    doctor = shared_daemon.cli("doctor", home=home).out
    assert "on an owner's device" in doctor
    assert "engine " not in doctor
    # It has no daemon of its own, and needs none.
    assert not re.search(r"^(BAD|ok) +(data|bwrap|python3):", doctor, re.MULTILINE)
    assert str(shared_daemon.home.data) not in status.out + doctor
