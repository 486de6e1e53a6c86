"""What the ledger says in the end, held against what clients were told and what tools did."""

import json
from pathlib import Path

from stockade.client import Client
from tests.crashes.load import LEASE_USES, pending
from tests.crashes.told import Receipts, Told, doubled, ended, kinds_by_call, lost
from tests.running import RunningDaemon


def hold_to_account(daemon: RunningDaemon, client: Client, told: Told, work: Path) -> None:
    """Each line is one promise."""
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
    for one in client.list_leases(ended=True):
        assert one.uses == used.count(one.lease_id) <= LEASE_USES


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
