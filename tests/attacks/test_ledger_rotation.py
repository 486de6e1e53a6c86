"""The ledger's keys are rotated while the daemon serves, is killed, restored, and lied about."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from ledger.canonical import encode
from ledger.errors import CheckpointError
from ledger.evidence import verify_evidence
from ledger.keys import encode_signing, generate, parse_public
from ledger.lineage import encode_lineage, lineage_of, parse_lineage
from ledger.rotation import rotation_body
from stockade.client import Client
from stockade.errors import NotPermitted
from tests.attacks.starting import refused, serve
from tests.attacks.test_rolled_back import replace_database, work
from tests.running import RunningDaemon, running

KEY, NEXT = "ledger.key", "ledger-next.key"


@pytest.fixture
def daemon() -> Iterator[RunningDaemon]:
    with running() as made:
        yield made


def rotate(daemon: RunningDaemon) -> int:
    with daemon.client() as client:
        return client.rotate_ledger_keys().receipt.sequence


def verified(daemon: RunningDaemon, key: Path, *more: str) -> tuple[int, str]:
    """What the command line says of a whole export, by these keys."""
    exported = daemon.root / "export"
    assert daemon.cli("ledger", "export", str(exported)).status == 0
    answer = daemon.cli("ledger", "verify", str(exported), "--key", str(key), *more)
    return answer.status, answer.out + answer.err


def test_a_rotation_is_followed_from_the_first_keys(daemon: RunningDaemon) -> None:
    """Export, checkpoint, evidence: all of it by keys that were pinned before, also restarted."""
    work(daemon)
    pinned, old = daemon.root / "pinned", daemon.root / "old"
    pinned.write_bytes(daemon.home.ledger_keys.read_bytes())
    old.write_text(daemon.cli("ledger", "checkpoint").out)
    private = (daemon.home.data / KEY).read_bytes()
    answer = daemon.cli("ledger", "rotate-keys", "--yes", "--json")
    number = json.loads(answer.out)["entry"]
    assert (daemon.home.data / KEY).read_bytes() != private
    assert not (daemon.home.data / NEXT).exists()
    work(daemon)
    daemon.restart()
    work(daemon)
    second = rotate(daemon)
    newest = daemon.root / "newest"
    fetched = daemon.cli("ledger", "checkpoint", "--since", str(old), "--key", str(pinned))
    assert (fetched.status, "the first" in fetched.err) == (0, True)
    newest.write_text(fetched.out)
    checkpoints = ("--checkpoint", str(old), "--checkpoint", str(newest))
    for more in (checkpoints, (*checkpoints, "--jobs", "1")):
        status, said = verified(daemon, pinned, *more)
        assert (status, f"rotated by entry {number}" in said) == (0, True), said
        assert f"rotated by entry {second}" in said
    keys = parse_lineage(daemon.cli("ledger", "keys").out.encode())
    assert [one.sequence for one in keys.rotations] == [number, second]
    assert daemon.home.ledger_keys.read_bytes() == encode_lineage(keys)
    with daemon.client() as client:
        call = client.list_calls(page_size=1).calls[0].call_id
        pieces = b"".join(piece.data for piece in client.export_evidence(call_id=call))
    first = parse_public(pinned.read_bytes())
    assert verify_evidence(pieces.splitlines(keepends=True), first).receipts
    for stale in (keys.rotations[0].keys, generate(first.chain).public()):
        with pytest.raises(CheckpointError, match="SIGNATURE"):
            verify_evidence(pieces.splitlines(keepends=True), stale)


def test_a_daemon_killed_at_any_step_goes_on_with_the_keys_that_the_ledger_names(
    daemon: RunningDaemon,
) -> None:
    """Before the receipt the old ones, after it the new: whatever lies in the files."""
    work(daemon)
    data, pinned = daemon.home.data, daemon.root / "pinned"
    pinned.write_bytes(daemon.home.ledger_keys.read_bytes())
    old = (data / KEY).read_bytes()
    # Killed after the new keys were written: nobody has seen them.
    daemon.stop()
    chain = parse_public(pinned.read_bytes()).chain
    (data / NEXT).write_bytes(encode_signing(generate(chain)))
    (data / NEXT).chmod(0o600)
    daemon.start()
    assert ((data / KEY).read_bytes(), (data / NEXT).exists()) == (old, False)
    # Killed after the receipt, before the files were moved; and while the public copy was made.
    rotate(daemon)
    daemon.stop()
    new = (data / KEY).read_bytes()
    (data / KEY).rename(data / NEXT)
    (data / KEY).write_bytes(old)
    (data / KEY).chmod(0o600)
    daemon.home.ledger_keys.write_bytes(pinned.read_bytes())
    daemon.start()
    work(daemon)
    assert ((data / KEY).read_bytes(), (data / NEXT).exists()) == (new, False)
    # A token's key is set aside first: there is a moment without a current one.
    daemon.stop()
    (data / KEY).rename(data / NEXT)
    daemon.start()
    work(daemon)
    assert (data / KEY).read_bytes() == new
    assert len(parse_lineage(daemon.home.ledger_keys.read_bytes()).rotations) == 1
    assert verified(daemon, pinned)[0] == 0
    # Neither of the ledger's: a key file of before the rotation.
    daemon.stop()
    (data / KEY).write_bytes(old)
    refused(serve(daemon), "LEDGER_KEYS_OTHER")


def test_a_database_of_before_the_rotation_is_not_continued(daemon: RunningDaemon) -> None:
    """Put back beside the new key, it would have its old keys' word for another history."""
    work(daemon)
    daemon.stop()
    shutil.copy(daemon.home.data / "stockade.db", copy := daemon.root / "copy.db")
    daemon.start()
    rotate(daemon)
    daemon.stop()
    replace_database(daemon, copy)
    refused(serve(daemon), "LEDGER_FORKED")


def test_a_rotation_taken_out_of_the_database_is_missed(daemon: RunningDaemon) -> None:
    """Without its mark the new keys would pass for the first ones there ever were."""
    rotate(daemon)
    daemon.stop()
    with closing(sqlite3.connect(daemon.home.data / "stockade.db")) as database, database:
        database.execute("DELETE FROM meta WHERE key LIKE 'ledger.rotations.%'")
    before = daemon.home.ledger_keys.read_bytes()
    refused(serve(daemon), "LEDGER_KEYS_OTHER")
    assert daemon.home.ledger_keys.read_bytes() == before


def test_only_who_administers_rotates(daemon: RunningDaemon) -> None:
    """An operator may not; and nothing is left of what was refused."""
    phone = daemon.pair_device("phone", "operators")
    before = (daemon.home.data / KEY).read_bytes()
    with Client.open(phone) as client, pytest.raises(NotPermitted):
        client.rotate_ledger_keys()
    assert (daemon.home.data / KEY).read_bytes() == before
    assert not (daemon.home.data / NEXT).exists()


def test_evidence_does_not_bring_its_own_keys(daemon: RunningDaemon) -> None:
    """A rotation that a stranger made, in the head of evidence, leads nobody to his keys."""
    work(daemon)
    rotate(daemon)
    work(daemon)
    with daemon.client() as client:
        call = client.list_calls(page_size=1).calls[0].call_id
        pieces = b"".join(piece.data for piece in client.export_evidence(call_id=call))
    lines = pieces.splitlines(keepends=True)
    head = json.loads(lines[0])
    genuine = parse_lineage(head["keys"].encode())
    verify_evidence(lines, genuine.first)
    stranger = generate(genuine.chain)
    text = encode_lineage(genuine).decode()
    rotation = json.loads(text.splitlines()[2])
    body = rotation["receipt"]["body"]
    for change in (
        {"to": rotation_body(genuine.first, stranger.public())["to"]},
        {"signatures": {**body["signatures"], "from_ml_dsa_65": "AAAA"}},
    ):
        body |= change
        head["keys"] = encode_lineage(lineage_of(genuine.first, [])).decode() + (
            encode(rotation).decode() + "\n"
        )
        with pytest.raises(CheckpointError, match="SIGNATURE"):
            verify_evidence([encode(head) + b"\n", *lines[1:]], genuine.first)
