"""`stockade doctor --attack`: the daemon attacks its own tiers, and says and records what held."""

import json
from collections.abc import Iterator

import pytest

from stockade.client import Client
from stockade.errors import BadRequest, Conflict, NotPermitted
from stockade.v1 import daemon_pb2
from tests.promises.acting import connect, until
from tests.running import RunningDaemon, running

_HELD = daemon_pb2.RunAttacksResponse.VERDICT_HELD


@pytest.fixture(scope="module")
def served() -> Iterator[RunningDaemon]:
    """One daemon for this module."""
    with running() as daemon:
        yield daemon


def test_the_daemon_attacks_itself(served: RunningDaemon) -> None:
    """What is attacked is the daemon's own tier, its data directory among the targets."""
    names = ["read", "write", "state", "network.tcp", "process.signal"]
    with served.client() as client:
        rows = list(client.run_attacks(["process"], names))
        receipt = json.loads(client.read_ledger(page_size=1).receipts[0].canonical)
    assert len(rows) == rows[0].total >= 14
    assert [row.number for row in rows] == list(range(1, len(rows) + 1))
    assert {row.verdict for row in rows} == {_HELD}, rows
    assert all(row.attack and row.grant and row.control for row in rows)
    assert receipt["kind"] == "sandbox.attacked"
    body = receipt["body"]
    assert (body["tier"], body["held"], body["not_held"]) == ("process", len(rows), [])
    assert list((served.home.data / "attacks").iterdir()) == []


def test_the_command_line(served: RunningDaemon) -> None:
    """The command prints the rows and their sum, and exits with 0 when all held."""
    answer = served.cli("doctor", "--attack", "--tier", "process", "--only", "network.u")
    assert answer.status == 0, answer.err
    assert answer.out.splitlines()[-1] == "process: 2 held"


def test_only_owners_may(served: RunningDaemon) -> None:
    """A device that may do everything but administer may not."""
    home = served.pair_device("other", "operators", "callers", "auditors", "approvers")
    with connect(home, served) as client, pytest.raises(NotPermitted):
        list(client.run_attacks())


def test_one_battery_at_a_time(served: RunningDaemon) -> None:
    """A second one is refused while one is under way, and goes when that one's client has gone."""
    with served.client() as first, served.client() as second:
        with first.run_attacks(["process"], ["network.tcp", "bomb.stop"]) as rows:
            next(iter(rows))  # one is over, and another goes on
            with pytest.raises(Conflict) as caught:
                list(second.run_attacks(["process"], ["network.udp"]))
            assert caught.value.reason == "ATTACKS_UNDER_WAY"
        assert until(lambda: _goes(second))


def _goes(client: Client) -> bool:
    try:
        return len(list(client.run_attacks(["process"], ["network.udp"]))) == 1
    except Conflict:
        return False


@pytest.mark.parametrize(
    ("tiers", "names", "reason"),
    [(["chroot"], [], "UNKNOWN_TIER"), ([], ["nonsense"], "UNKNOWN_ATTACK")],
)
def test_what_there_is_not(
    served: RunningDaemon, tiers: list[str], names: list[str], reason: str
) -> None:
    """A tier or an attack that there is not is refused by name."""
    with served.client() as client, pytest.raises(BadRequest) as caught:
        list(client.run_attacks(tiers, names))
    assert caught.value.reason == reason
