"""A ledger that a disk has damaged: it is named, and nothing is made up in its place."""

import os
import re
from collections.abc import Iterator

import pytest

from stockade.errors import StockadeError
from tests.attacks.starting import refused, serve
from tests.promises.acting import ALONE, apply, export, run, until
from tests.running import RunningDaemon, finished, running

PAGE = 4096
# Of the first, all that a start looks at has been looked at: it takes up the tree of the others.
OLD, NEWER = b'"seq":60,', b'"seq":600,'
DAMAGES = pytest.mark.parametrize("what", [os.urandom(PAGE), bytes(PAGE)], ids=["noise", "zeros"])


@pytest.fixture(scope="module")
def ended() -> Iterator[RunningDaemon]:
    """A daemon that has ended, after two stops whose checkpoints vouch for what is damaged."""
    with running() as daemon:
        with daemon.client() as client:
            apply(client, ALONE)
            for _ in range(310):
                run(client, "no_such_tool")
        daemon.restart()
        daemon.stop()
        yield daemon


@pytest.fixture
def content(ended: RunningDaemon) -> Iterator[bytearray]:
    """Of its database, which is put back."""
    database = ended.home.data / "stockade.db"
    whole = database.read_bytes()
    yield bytearray(whole)
    ended.stop()
    for left in ended.home.data.glob("stockade.db-*"):
        left.unlink()
    database.write_bytes(whole)


def spoil(daemon: RunningDaemon, content: bytearray, at: int, what: bytes) -> None:
    content[at : at + len(what)] = what
    (daemon.home.data / "stockade.db").write_bytes(content)


@DAMAGES
def test_a_damaged_page_of_what_a_start_reads(
    ended: RunningDaemon, content: bytearray, what: bytes
) -> None:
    """The daemon does not start on it, and says what to do."""
    spoil(ended, content, content.index(NEWER) // PAGE * PAGE, what)
    assert "from a backup" in refused(serve(ended), "STORE_CORRUPT")


@DAMAGES
def test_a_damaged_page_of_long_ago(ended: RunningDaemon, content: bytearray, what: bytes) -> None:
    """Whoever reads it is told; an export of it is no shorter one, and what is new goes on."""
    spoil(ended, content, content.index(OLD) // PAGE * PAGE, what)
    ended.start()
    with ended.client() as client:
        with pytest.raises(StockadeError) as met:
            export(client)
        assert (met.value.reason, "from a backup" in met.value.fix) == ("STORE_CORRUPT", True)
        assert finished(run(client, "run_shell", command="true")).reason == "SUCCEEDED"
    file = ended.root / "export"
    assert "STORE_CORRUPT" in ended.cli("ledger", "export", str(file)).err
    assert not file.exists()


def test_a_damaged_byte_of_long_ago(ended: RunningDaemon, content: bytearray) -> None:
    """Where the database looks whole, the verifier names the entry, and why."""
    at = content.index(OLD)
    spoil(ended, content, at + len(b'"seq":'), b"7")
    ended.start()
    file, key = ended.root / "export", str(ended.home.ledger_keys)
    assert ended.cli("ledger", "export", str(file)).status == 0
    answer = ended.cli("ledger", "verify", str(file), "--key", key)
    assert answer.status == 1
    assert re.search(r"EDITED: line 60\b", answer.err), answer.err
    file.unlink()


@pytest.mark.slow
def test_a_damaged_byte_that_nobody_asks_for(ended: RunningDaemon, content: bytearray) -> None:
    """The daemon finds it by itself, says so in status and doctor, and goes on."""
    spoil(ended, content, content.index(OLD) + len(b'"seq":'), b"7")
    ended.start()
    with ended.client() as client:
        assert client.status().ledger_damage == ""
        assert until(lambda: bool(client.status().ledger_damage), seconds=180)  # a minute, and some
        told = client.status().ledger_damage
        assert told.startswith("LEDGER_DAMAGED"), told
        assert "entry 60" in told
        assert finished(run(client, "run_shell", command="true")).reason == "SUCCEEDED"
    answer = ended.cli("doctor")
    assert answer.status == 1
    assert "LEDGER_DAMAGED" in answer.out
