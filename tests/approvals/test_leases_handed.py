"""A part of a lease handed to an agent: narrowed, never widened, and never without the lease."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from stockade.approving import narrowed
from stockade.client import Client
from stockade.errors import BadRequest, NotFound
from stockade.home import Home
from stockade.lease import LeaseTerms
from stockade.v1 import policy_pb2
from tests.approvals.leasing import asked, give, hence, lease_of, revoke_all
from tests.attacks.editing import edit
from tests.attacks.enrolling import EnrolledAgent, enroll_agent
from tests.promises.acting import policy, receipts, until
from tests.running import RunningDaemon

WRITE: Any = {"path": {"below": "a"}, "content": {"any": True}, "workspace": {"is": "work"}}
TRUE: Any = {"command": "true"}
NO_AGENTS = '@id("no") forbid (principal, action == Action::"grant_lease", resource)'
NO_AGENTS += " when { context.requester has agent };"


@pytest.fixture(scope="module")
def worker(shared_daemon: RunningDaemon) -> EnrolledAgent:
    """An agent of the owner's device."""
    return enroll_agent(shared_daemon, "worker")


@pytest.fixture(scope="module")
def agent(worker: EnrolledAgent) -> Iterator[Client]:
    with worker.client() as client:
        yield client


@pytest.fixture(autouse=True)
def none_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Each test begins without leases."""
    yield
    if "shared_daemon" in request.fixturenames:
        with request.getfixturevalue("shared_daemon").client() as owner:
            revoke_all(owner)


def hand(
    owner: Client, parent: LeaseTerms, to: EnrolledAgent, uses: int = 2, bounds: Any = None
) -> LeaseTerms:
    terms = narrowed(parent, to.id, expires_ms=parent.expires_ms, uses=uses, bounds=bounds)
    owner.hand_lease(terms)
    return terms


def test_the_agent_calls_by_it_and_each_use_counts_twice(
    owner: Client, approver: Client, agent: Client, worker: EnrolledAgent
) -> None:
    """Its device's lease is none of an agent's; a part of it is, and takes from the whole."""
    parent = give(owner, approver, "run_shell", uses=3, **TRUE)
    assert asked(agent, "run_shell", **TRUE)
    terms = hand(owner, parent, worker)
    events = list(agent.call("run_shell", TRUE))
    used = [one["body"] for one in receipts(owner, events[0].call_id) if "number" in one["body"]]
    assert [(one["lease"], one["number"], one["of"]) for one in used] == [
        (parent.lease_id, 1, 3),
        (terms.lease_id, 1, 2),
    ]
    assert (
        not owner.explain_policy(policy_pb2.ExplainPolicyRequest(call_id=events[0].call_id))
        .rulings[0]
        .notes
    )
    assert not asked(agent, "run_shell", **TRUE)
    assert asked(agent, "run_shell", **TRUE)
    assert not asked(owner, "run_shell", **TRUE)
    assert asked(owner, "run_shell", **TRUE)


def test_what_its_device_uses_up_the_agent_has_no_more(
    owner: Client, approver: Client, agent: Client, worker: EnrolledAgent
) -> None:
    """The last use of the whole is the last of the part."""
    parent = give(owner, approver, "run_shell", uses=2, **TRUE)
    hand(owner, parent, worker)
    assert not asked(owner, "run_shell", **TRUE)
    assert not asked(owner, "run_shell", **TRUE)
    assert asked(agent, "run_shell", **TRUE)
    assert until(lambda: not owner.list_leases())


def test_nothing_wider_is_handed(
    shared_daemon: RunningDaemon, owner: Client, approver: Client, worker: EnrolledAgent
) -> None:
    """More uses, time or arguments, another tool, tier, policy or agent, another's lease or key."""
    parent = give(
        owner, approver, "write_file", bounds=WRITE, path="a", content="x", workspace="work"
    )
    good = narrowed(parent, worker.id, expires_ms=parent.expires_ms, uses=2)
    wider: list[dict[str, Any]] = [
        {"uses": 6},
        {"expires_ms": parent.expires_ms + 1},
        {"tool": "run_shell"},
        {"tool_digest": "0" * 64},
        {"tier": "container"},
        {"secrets": ("secret://global/key",)},
        {"policy_digest": ""},
        {"principal": "agent/agt-aaaaaaaaaaaaaaaa"},
        {"principal": parent.principal},
        {"bounds": {**WRITE, "path": {"any": True}}},
        {"bounds": {**WRITE, "path": {"below": "ab"}}},
        {"bounds": {**WRITE, "path": {"is": "a/../b"}}},
        {"bounds": {**WRITE, "workspace": {"one_of": ["work", "docs"]}}},
        {"bounds": {**WRITE, "other": {"any": True}}},
        {"bounds": None, "exactly": {"path": "b", "content": "x", "workspace": "work"}},
        {"expires_ms": hence(-1)},
        {"lease_id": "mine"},
    ]
    for changes in wider:
        with pytest.raises(BadRequest) as caught:
            owner.hand_lease(replace(good, **changes))
        assert caught.value.reason == "LEASE_REFUSED", changes
    with pytest.raises(NotFound):
        owner.hand_lease(replace(good, parent="0" * 64))
    home = shared_daemon.pair_device("stranger", "callers")
    with Client.open(home) as stranger, pytest.raises(NotFound):
        stranger.hand_lease(good)
    assert [one.lease_id for one in owner.list_leases()] == [parent.lease_id]
    owner.hand_lease(good)
    [mine] = [one for one in owner.list_leases() if one.parent_id]
    assert mine.parent_id == parent.lease_id


def test_the_arguments_are_within_both(
    owner: Client, approver: Client, agent: Client, worker: EnrolledAgent
) -> None:
    """Of a part for a/b, a/c is asked about; its permits say the limits of both."""
    arguments: Any = {"content": "x", "workspace": "work"}
    parent = give(owner, approver, "write_file", bounds=WRITE, path="a", **arguments)
    hand(owner, parent, worker, bounds={**WRITE, "path": {"below": "a/b"}})
    assert asked(agent, "write_file", path="a/c", **arguments)
    assert asked(agent, "write_file", path="a", **arguments)
    [lease] = [one for one in owner.list_leases() if one.parent_id]
    assert '"a/b"' in lease.policies[0]
    assert '"a"' in lease.policies[0]


def test_it_ends_with_the_lease_it_is_a_part_of(
    owner: Client, approver: Client, agent: Client, worker: EnrolledAgent
) -> None:
    """Revoked, the whole takes its parts along at once."""
    parent = give(owner, approver, "run_shell", **TRUE)
    terms = hand(owner, parent, worker)
    assert not asked(agent, "run_shell", **TRUE)
    approver.revoke_lease(parent.lease_id)
    assert asked(agent, "run_shell", **TRUE)

    def ended() -> list[tuple[str, str]]:
        found = (one for one in owner.list_leases(ended=True) if one.lease_id == terms.lease_id)
        return [(one.state, one.reason) for one in found]

    assert until(lambda: ended() == [("void", "PARENT_ENDED")])


def test_policy_may_want_no_parts_for_agents(
    owner: Client, approver: Client, agent: Client, worker: EnrolledAgent
) -> None:
    """Whether the approver's yes counts for the agent is asked at each use."""
    parent = give(owner, approver, "run_shell", tied=False, **TRUE)
    hand(owner, parent, worker)
    with policy(owner, NO_AGENTS):
        assert asked(agent, "run_shell", **TRUE)
        assert not asked(owner, "run_shell", **TRUE)
    assert not asked(agent, "run_shell", **TRUE)


@pytest.mark.parametrize("changed", ["parent_id = NULL", "uses = 0", "max_uses = 9"])
def test_after_a_start_a_part_stands_as_it_was_or_not_at_all(
    daemon: RunningDaemon, changed: str
) -> None:
    """It survives with its count; cut loose from its lease by hand, or counted back, it is void."""
    home = daemon.pair_device("approver", "approvers")
    with daemon.client() as owner, Client.open(home) as approver:
        parent = give(owner, approver, "run_shell", **TRUE)
        worker = enroll_agent(daemon, "worker")
        terms = hand(owner, parent, worker, uses=3)
        with worker.client() as agent:
            assert not asked(agent, "run_shell", **TRUE)
    daemon.restart(9)
    with worker.client() as agent:
        assert not asked(agent, "run_shell", **TRUE)
    daemon.stop()
    statement = f"UPDATE leases SET {changed} WHERE lease_id = ?"  # noqa: S608 - our own
    assert edit(daemon, statement, terms.lease_id) == 1
    daemon.start()
    with daemon.client() as owner, worker.client() as agent:
        assert asked(agent, "run_shell", **TRUE)
        assert not asked(owner, "run_shell", **TRUE)


def test_a_part_whose_whole_has_ended_does_not_stand_after_a_start(daemon: RunningDaemon) -> None:
    """However that came: the whole is void, and so is what was narrowed from it."""
    home = daemon.pair_device("approver", "approvers")
    with daemon.client() as owner, Client.open(home) as approver:
        parent = give(owner, approver, "run_shell", **TRUE)
        worker = enroll_agent(daemon, "worker")
        terms = hand(owner, parent, worker)
    daemon.stop()
    assert edit(daemon, "UPDATE leases SET max_uses = 9 WHERE lease_id = ?", parent.lease_id) == 1
    daemon.start()
    with daemon.client() as owner, worker.client() as agent:
        assert asked(agent, "run_shell", **TRUE)
        ends = {one.lease_id: one.reason for one in owner.list_leases(ended=True)}
    assert ends == {parent.lease_id: "LEASE_DAMAGED", terms.lease_id: "PARENT_ENDED"}


def test_own_leases_are_listed_to_their_holders(
    shared_daemon: RunningDaemon,
    owner: Client,
    approver: Client,
    agent: Client,
    worker: EnrolledAgent,
) -> None:
    """Who may not see all leases sees those of its own; an agent its own alone."""
    home: Home = shared_daemon.pair_device("plain", "callers")
    with Client.open(home) as plain:
        its = give_by(plain, approver)
        parent = give(owner, approver, "run_shell", **TRUE)
        terms = hand(owner, parent, worker)
        assert [one.lease_id for one in plain.list_leases()] == [its]
        assert [one.lease_id for one in agent.list_leases()] == [terms.lease_id]
        assert len(owner.list_leases()) == 3


def give_by(caller: Client, approver: Client) -> str:
    """A lease for somebody who may not see approvals; its id."""
    lease_id = ""
    events = caller.call("run_shell", TRUE)
    for event in events:
        if event.HasField("awaiting_approval"):
            approval = approver.get_approval(event.awaiting_approval.approval_id)
            terms = lease_of(approval)
            approver.answer_approval(approval, approve=True, lease=terms)
            lease_id = terms.lease_id
    return lease_id


@pytest.mark.usefixtures("worker")
def test_the_command_line_hands_one_over(
    shared_daemon: RunningDaemon, owner: Client, approver: Client
) -> None:
    """Shown in words, narrowed as said, and listed as a part."""
    parent = give(owner, approver, "run_shell", **TRUE)
    done = shared_daemon.cli(
        "leases", "hand", parent.lease_id, "--to", "worker", "--uses", "2", "--for", "5m", "--yes"
    )
    assert done.status == 0, done.err
    [part] = [one for one in owner.list_leases() if one.parent_id]
    assert part.holder_name == "worker (agent of local)"
    assert f"part of    {parent.lease_id}" in shared_daemon.cli("leases", "show", part.lease_id).out
    assert shared_daemon.cli("leases", "hand", parent.lease_id, "--to", "nobody").status == 2


def test_of_many_that_race_for_the_last_part_one_has_it(
    owner: Client, approver: Client, worker: EnrolledAgent
) -> None:
    """Eighty at once of a lease that has sixty-four parts: that many are handed, no more."""
    parent = give(owner, approver, "run_shell", **TRUE)
    parts = [narrowed(parent, worker.id, expires_ms=parent.expires_ms, uses=1) for _ in range(80)]
    refused: list[str] = []

    def handed(terms: LeaseTerms) -> bool:
        try:
            owner.hand_lease(terms)
        except BadRequest as error:
            refused.append(error.message)
            return False
        return True

    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(handed, parts)) == 64
    assert all("64 leases were narrowed" in one for one in refused)
    mine = [one for one in owner.list_leases(page_size=500) if one.parent_id == parent.lease_id]
    assert len(mine) == 64
