"""Kill -9 at any moment under mixed load, again and again: nothing that was told is lost.

`STOCKADE_KILLS` says how often (`make soak`: 1,000); `STOCKADE_SEED` repeats a run's choices.
"""

import json
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from stockade.client import Client
from stockade.v1 import call_pb2
from tests.conftest import config_with
from tests.crashes.load import LEASE_USES, Load, pending, prepare
from tests.crashes.remains import files, remains
from tests.crashes.told import Receipts, Told, doubled, ended, kinds_by_call, lost
from tests.promises.acting import until
from tests.running import RunningDaemon, make_directory, running

# A kill costs two and a half seconds of processor time: a hundred would be over four minutes of
# two cores that have other tests to run. Thirty meet every phase of a call and of a start; the
# thousand are for `make soak`.
KILLS = int(os.environ.get("STOCKADE_KILLS", "30"))
SEED = int(os.environ.get("STOCKADE_SEED", str(random.SystemRandom().randrange(2**32))))
# "A second after restart"; the machine that runs this may be busy.
SECOND = 8
# Every so many kills, the daemon dies while it starts.
AT_START = 5
AGAIN = 3

RATES = (
    "[rates]\ncalls_per_second = 100000\ncalls_burst = 100000\n"
    "administration_per_second = 100000\nadministration_burst = 100000\n"
    "[approvals]\nlifetime_seconds = 86400\n"
)
RUNNING = (call_pb2.CALL_STATE_PERMITTED, call_pb2.CALL_STATE_RUNNING)


@pytest.fixture(scope="module")
def work() -> Iterator[Path]:
    """A workspace, in which each run leaves a line."""
    path = make_directory("stockade-crash-")
    path.chmod(0o777)
    yield path
    for file in path.iterdir():
        file.unlink()
    path.rmdir()


@pytest.fixture(scope="module")
def daemon(work: Path) -> Iterator[RunningDaemon]:
    temporary = make_directory("stockade-crash-tmp-")
    with running(config_with(work) + RATES, TMPDIR=str(temporary)) as made:
        yield made
    temporary.rmdir()


def test_killed_at_any_moment_nothing_told_is_lost_and_nothing_is_left(
    daemon: RunningDaemon, work: Path
) -> None:
    """See the module; each line of the end is one promise."""
    print(f"seed {SEED}, {KILLS} kills")  # noqa: T201 - shown when it fails
    chance, mark, told = random.Random(SEED), f"7{os.getpid()}", Told()  # noqa: S311
    approver = daemon.pair_device("approver", "approvers")
    with daemon.client() as client:
        prepare(client)
        chain = client.status().ledger_chain
    known, seen = files(daemon), False
    for kill in range(KILLS):
        _check_left(daemon, chain, mark, known)
        _ask_again(daemon, told, chance)
        load = Load(daemon, approver, told, mark, chance)
        load.start()
        time.sleep(chance.random() * 0.5)
        # The control: what is looked for afterwards is there to be found before.
        seen = seen or bool(remains(daemon, chain, mark, known))
        daemon.stop(signal.SIGKILL)
        load.join()
        if kill % AT_START == 0:
            _kill_while_it_starts(daemon, chance)
        daemon.start()
    _check_left(daemon, chain, mark, known)
    assert seen
    with daemon.client() as client:
        assert until(lambda: not _under_way(client))
        _hold_to_account(daemon, client, told, work)


def _check_left(daemon: RunningDaemon, chain: str, mark: str, known: frozenset[str]) -> None:
    """A second after the start nothing is there of runs of the life before."""
    left: list[str] = []

    def gone() -> bool:
        left[:] = remains(daemon, chain, mark, known)
        return not left

    assert until(gone, SECOND), left


def _ask_again(daemon: RunningDaemon, told: Told, chance: random.Random) -> None:
    """Calls of former lives are sent again, with their ids: they have the ends they had."""
    with daemon.client() as client:
        for call_id in chance.sample(sorted(told.begun), min(AGAIN, len(told.begun))):
            tool, arguments = told.begun[call_id]
            for event in client.call(tool, arguments, call_id=call_id, detach=True):
                told.event(event)
                if event.WhichOneof("event") in ("started", "awaiting_approval"):
                    break
        assert until(lambda: not _under_way(client))


def _kill_while_it_starts(daemon: RunningDaemon, chance: random.Random) -> None:
    def start() -> None:
        with suppress(AssertionError, ValueError):
            daemon.start()

    before = daemon.process
    starting = threading.Thread(target=start)
    starting.start()
    assert until(lambda: daemon.process is not before)
    time.sleep(chance.random() * 0.8)
    assert daemon.process is not None
    daemon.process.kill()
    starting.join()
    daemon.stop(signal.SIGKILL)


def _under_way(client: Client) -> bool:
    return any(one.state in RUNNING for one in client.list_calls(page_size=500).calls)


def _receipts(client: Client) -> Receipts:
    """The whole ledger, by number."""
    found: Receipts = {}
    token = ""
    while True:
        page = client.read_ledger(page_size=500, page_token=token)
        for one in page.receipts:
            found[one.sequence] = (one.digest.hex(), json.loads(one.canonical))
        token = page.next_page_token
        if not token:
            return found


def _hold_to_account(daemon: RunningDaemon, client: Client, told: Told, work: Path) -> None:
    receipts = _receipts(client)
    kinds = kinds_by_call(receipts)
    assert sorted(receipts) == list(range(1, len(receipts) + 1))
    assert lost(told, receipts) == []
    assert doubled(kinds, told.begun) == []
    ran = {path.name.removeprefix("ran-"): path.read_text() for path in work.glob("ran-*")}
    # A tool that was killed had made its file, and not yet written the line.
    whole = {one for one, text in ran.items() if text == "x\n"}
    cut = {one for one, text in ran.items() if text == "" and kinds[one]["call.interrupted"]}
    assert {one: ran[one] for one in ran.keys() - whole - cut} == {}
    permitted = {one for one in ran if kinds[one]["call.permitted"] and kinds[one]["call.running"]}
    assert set(ran) == permitted
    waiting = {one for one, of in kinds.items() if of["call.pending_approval"] and not ended(of)}
    assert waiting == {one.call_id for one in pending(client).values()}
    _hold_leases_to_account(client, receipts)
    file = str(daemon.root / "exported.jsonl")
    assert daemon.cli("ledger", "export", file).status == 0
    verified = daemon.cli("ledger", "verify", file, "--key", str(daemon.home.ledger_keys))
    assert verified.status == 0, verified.err
    # The load was one: calls of every end were told of, and some were cut off.
    interrupted = [one for one, of in kinds.items() if of["call.interrupted"]]
    assert interrupted
    assert ran
    print(f"{len(kinds)} calls, {len(ran)} ran, {len(interrupted)} interrupted")  # noqa: T201


def _hold_leases_to_account(client: Client, receipts: Receipts) -> None:
    """No use is lost, and none is had twice: the counter is the number of receipts."""
    used = [one["body"]["lease"] for _, one in receipts.values() if one["kind"] == "lease.used"]
    leases = client.list_leases(ended=True)
    assert leases
    for one in leases:
        assert one.uses == used.count(one.lease_id) <= LEASE_USES
