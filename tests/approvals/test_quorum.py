"""Where policy wants several: each device has one word, and it goes with its device."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from stockade.client import Client
from stockade.errors import Conflict
from stockade.home import Home
from stockade.v1 import approval_pb2, call_pb2
from tests.promises.acting import Waiting, ask, kinds, policy, receipts
from tests.running import RunningDaemon

THREE = '@id("three") forbid (principal, action == Action::"call_attended", resource)'
THREE += " when { context.approver_count < 3 };"
TWO = THREE.replace("three", "two").replace("< 3", "< 2")


@pytest.fixture(scope="module")
def homes(shared_daemon: RunningDaemon, approver_home: Home) -> list[Home]:
    """Four that may approve."""
    names = ("second", "third", "fourth")
    return [approver_home, *(shared_daemon.pair_device(name, "approvers") for name in names)]


@pytest.fixture
def people(homes: list[Home]) -> Iterator[list[Client]]:
    """Their clients."""
    with ExitStack() as stack:
        yield [stack.enter_context(Client.open(home)) for home in homes]


def waits(owner: Client, waiting: Waiting) -> bool:
    """Whether more people are needed, and nothing was permitted."""
    approval = owner.get_approval(waiting.approval.approval_id)
    pending = approval.state == approval_pb2.APPROVAL_STATE_PENDING
    return pending and "call.permitted" not in kinds(owner, waiting.call_id)


def heard(owner: Client, waiting: Waiting) -> set[str]:
    """Whose yes the permit is by."""
    [permit] = [
        r["body"] for r in receipts(owner, waiting.call_id) if r["kind"] == "call.permitted"
    ]
    return set(permit["heard"]["approvers"])


def test_it_runs_with_the_last_that_is_needed_and_no_sooner(
    owner: Client, people: list[Client]
) -> None:
    """Three of four: two leave it waiting, the third runs it, the fourth comes too late."""
    with policy(owner, THREE):
        waiting = ask(owner, "run_shell", command="true")
        for one in people[:2]:
            one.answer_approval(waiting.approval, approve=True)
            assert waits(owner, waiting)
        people[2].answer_approval(waiting.approval, approve=True)
        assert waiting.end().state == call_pb2.CALL_STATE_SUCCEEDED
        with pytest.raises(Conflict):
            people[3].answer_approval(waiting.approval, approve=True)
    assert heard(owner, waiting) == {one.credentials.device_id for one in people[:3]}


def test_one_no_ends_it(owner: Client, people: list[Client]) -> None:
    """However many have said yes before."""
    with policy(owner, THREE):
        waiting = ask(owner, "run_shell", command="true")
        for one in people[:2]:
            one.answer_approval(waiting.approval, approve=True)
        people[2].answer_approval(waiting.approval, approve=False)
        assert waiting.end().state == call_pb2.CALL_STATE_REJECTED
        assert not waiting.started


def test_one_device_has_one_word(owner: Client, people: list[Client], homes: list[Home]) -> None:
    """Not a second by another certificate of its own, nor a no after its yes."""
    first, second, *_ = people
    with policy(owner, TWO):
        waiting = ask(owner, "run_shell", command="true")
        first.answer_approval(waiting.approval, approve=True)
        first.renew_certificate(homes[0])
        with Client.open(homes[0]) as renewed:
            for client in (first, renewed):
                for approve in (True, False):
                    with pytest.raises(Conflict) as caught:
                        client.answer_approval(waiting.approval, approve=approve)
                    assert caught.value.reason == "ALREADY_ANSWERED"
        assert waits(owner, waiting)
        second.answer_approval(waiting.approval, approve=True)
        assert waiting.end().state == call_pb2.CALL_STATE_SUCCEEDED


def test_a_yes_goes_with_its_device(
    shared_daemon: RunningDaemon, owner: Client, people: list[Client]
) -> None:
    """Given in good order and recorded, and then its device was revoked: it is no more a yes."""
    first, second, *_ = people
    home = shared_daemon.pair_device("leaving soon", "approvers")
    with Client.open(home) as leaver, policy(owner, TWO):
        waiting = ask(owner, "run_shell", command="true")
        leaver.answer_approval(waiting.approval, approve=True)
        owner.revoke_device(leaver.credentials.device_id)
        first.answer_approval(waiting.approval, approve=True)
        assert waits(owner, waiting)
        second.answer_approval(waiting.approval, approve=True)
        assert waiting.end().state == call_pb2.CALL_STATE_SUCCEEDED
    assert heard(owner, waiting) == {one.credentials.device_id for one in (first, second)}
