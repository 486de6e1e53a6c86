"""Promise 6, after contents were pruned: the ledger says what it said, and verifies."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from ledger.evidence import verify_evidence
from ledger.keys import parse_public
from stockade.client import new_call_id
from stockade.errors import StockadeError
from tests.promises.acting import ALONE, apply, entries, export, until
from tests.running import CONFIG, RunningDaemon, running

MARK = "a-word-that-was-an-argument"
BIG = MARK + "x" * 300_000
COUNT = 5


@pytest.fixture(scope="module")
def pruned() -> Iterator[tuple[RunningDaemon, list[str]]]:
    """A daemon that may keep one MiB, and was started again with more than that."""
    with running(CONFIG + "[ledger]\nretain_mib = 1\n") as daemon:
        ids = [new_call_id() for _ in range(COUNT)]
        with daemon.client() as client:
            apply(client, ALONE)
            for call_id in ids:
                list(client.call("run_shell", {"command": f"true {BIG}"}, call_id=call_id))
                time.sleep(0.002)  # the order of time is the order of ids
        daemon.restart()
        with daemon.client() as client:
            only = "ledger.pruned"
            assert until(
                lambda: any(one["kind"] == only for one in entries(export(client))), seconds=60
            )
            yield daemon, ids


def arguments(daemon: RunningDaemon) -> list[int]:
    """How long what is kept of each call is, oldest first."""
    path = f"file:{daemon.home.data}/stockade.db?mode=ro"
    with closing(sqlite3.connect(path, uri=True)) as database:
        found = database.execute("SELECT length(arguments) FROM calls ORDER BY created_ms")
        return [int(one) for (one,) in found]


def test_no_more_goes_than_has_to(pruned: tuple[RunningDaemon, list[str]]) -> None:
    """The two oldest of five; and a receipt that says how much, and why."""
    daemon, _ = pruned
    assert until(lambda: 0 in arguments(daemon))
    kept = arguments(daemon)
    assert [bool(size) for size in kept] == [False, False, True, True, True]
    assert sum(kept) <= 1024 * 1024
    with daemon.client() as client:
        bodies = [one["body"] for one in entries(export(client)) if one["kind"] == "ledger.pruned"]
    assert bodies[0]["cause"] == "size"
    assert sum(body["calls"] for body in bodies) == kept.count(0)


def test_the_ledger_and_its_evidence_still_verify(
    pruned: tuple[RunningDaemon, list[str]],
) -> None:
    """Every receipt is there; the document is not, and its digest is."""
    daemon, ids = pruned
    exported, key = daemon.root / "export", str(daemon.home.ledger_keys)
    assert daemon.cli("ledger", "export", str(exported)).status == 0
    assert daemon.cli("ledger", "verify", str(exported), "--key", key).status == 0
    file = daemon.root / "evidence"
    assert daemon.cli("ledger", "evidence", str(file), "--call", ids[0]).status == 0
    lines = file.read_bytes().splitlines(keepends=True)
    found = verify_evidence(lines, parse_public(daemon.home.ledger_keys.read_bytes()))
    assert found.receipts[0].body["arguments_digest"]
    assert "arguments" not in {one["what"] for one in found.documents.values()}
    assert MARK.encode() not in b"".join(lines)


def test_a_pruned_call_does_not_run_again(pruned: tuple[RunningDaemon, list[str]]) -> None:
    """Its id stays taken."""
    daemon, ids = pruned
    with daemon.client() as client, pytest.raises(StockadeError) as refused:
        list(client.call("run_shell", {"command": f"true {BIG}"}, call_id=ids[0]))
    assert refused.value.reason == "CALL_ID_REUSED"


def test_what_was_pruned_is_said_to_be(pruned: tuple[RunningDaemon, list[str]]) -> None:
    """Asking how the call would be decided today says why that cannot be said."""
    daemon, ids = pruned
    answer = daemon.cli("policy", "explain", ids[0])
    assert "pruned" in answer.out + answer.err, json.dumps([answer.out, answer.err])
