"""A database that was put back is noticed at the start, by a checkpoint that was not."""

import json
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.promises.acting import ALONE, apply, run, until
from tests.running import CONFIG, RunningDaemon, make_directory, remove_directory


@pytest.fixture
def kept() -> Iterator[RunningDaemon]:
    """A daemon whose checkpoints are kept outside of its home."""
    outside = make_directory()
    config = (
        CONFIG + f'[ledger]\ncheckpoint_file = "{outside / "checkpoint"}"\ncheckpoint_seconds = 1\n'
    )
    daemon = RunningDaemon(make_directory(), config)
    try:
        yield daemon
    finally:
        daemon.stop()
        remove_directory(daemon.root)
        shutil.rmtree(outside)


def work(daemon: RunningDaemon) -> None:
    with daemon.client() as client:
        apply(client, ALONE)
        run(client, "run_shell", command="true")


def outside(daemon: RunningDaemon) -> Path:
    """Where its checkpoints are kept."""
    return Path(tomllib.loads(daemon.config)["ledger"]["checkpoint_file"])


def refusal(daemon: RunningDaemon) -> str:
    """What a start that is refused says."""
    already = len(daemon.log)
    with pytest.raises(AssertionError):
        daemon.start()
    daemon.stop()
    return daemon.log[already:]


def replace_database(daemon: RunningDaemon, by: Path) -> None:
    for name in ("stockade.db", "stockade.db-wal", "stockade.db-shm"):
        (daemon.home.data / name).unlink(missing_ok=True)
    shutil.copy(by, daemon.home.data / "stockade.db")


def test_yesterdays_database_is_not_continued(kept: RunningDaemon) -> None:
    """Restored from a copy, it is a whole and well-signed ledger, only shorter."""
    kept.start()
    work(kept)
    path = outside(kept)
    kept.stop()
    yesterday = kept.root / "yesterday.db"
    shutil.copy(kept.home.data / "stockade.db", yesterday)
    kept.start()
    work(kept)
    kept.stop()
    today = kept.root / "today.db"
    shutil.copy(kept.home.data / "stockade.db", today)
    vouched = path.read_bytes()

    replace_database(kept, yesterday)
    said = refusal(kept)
    assert "LEDGER_ROLLED_BACK" in said
    assert str(path) in said
    # `stockade up` goes by init, which writes receipts too: it is refused as well.
    assert "LEDGER_ROLLED_BACK" in kept.init().stderr
    assert path.read_bytes() == vouched

    replace_database(kept, today)
    kept.start()
    kept.stop()

    # The operator decides to go on with the older one: the ledger says when that was.
    replace_database(kept, yesterday)
    path.rename(path.with_name("of-today"))
    kept.start()
    answer = kept.cli("ledger", "tail", "-n", "50")
    assert "ledger.checkpoint_file_absent" in answer.out
    # And whoever kept the newer checkpoint sees it.
    exported = kept.root / "export"
    assert kept.cli("ledger", "export", str(exported)).status == 0
    key = str(kept.home.ledger_keys)
    newer = path.with_name("of-today")
    checked = kept.cli("ledger", "verify", str(exported), "--key", key, f"--checkpoint={newer}")
    assert checked.status == 1
    assert "TRUNCATED" in checked.err or "FORKED" in checked.err


def test_a_second_history_of_the_same_length_is_not_continued(kept: RunningDaemon) -> None:
    """Put back, continued elsewhere until it is long enough: the root tells them apart."""
    kept.start()
    work(kept)
    path = outside(kept)
    kept.stop()
    shutil.copy(kept.home.data / "stockade.db", copy := kept.root / "copy.db")
    kept.start()
    work(kept)
    kept.stop()
    newest = path.read_bytes()

    replace_database(kept, copy)
    path.unlink()
    kept.start()
    for _ in range(3):
        work(kept)
    kept.stop()
    path.write_bytes(newest)
    assert "LEDGER_FORKED" in refusal(kept)


@pytest.mark.parametrize("attack", ["stripped", "folder gone"])
def test_a_checkpoint_file_that_says_nothing_is_no_reason_to_start(
    kept: RunningDaemon, attack: str
) -> None:
    """One signature of two, or a disk that is not mounted: refused with what to do."""
    kept.start()
    path = outside(kept)
    assert until(path.exists)
    kept.stop()
    if attack == "stripped":
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
        assert "CHECKPOINT_FILE_OTHER" in refusal(kept)
    else:
        path.unlink()
        path.parent.rmdir()
        assert "CHECKPOINT_FILE_UNUSABLE" in refusal(kept)
        path.parent.mkdir()


def test_a_checkpoint_is_fetched_only_if_it_adds_to_the_last(kept: RunningDaemon) -> None:
    """`checkpoint --since OLD` verifies the proof; of an older ledger, or another, none comes."""
    kept.start()
    work(kept)
    key = str(kept.home.ledger_keys)
    old, newer = kept.root / "old", kept.root / "newer"
    old.write_text(kept.cli("ledger", "checkpoint").out)
    work(kept)
    answer = kept.cli("ledger", "checkpoint", "--since", str(old), "--key", key)
    assert (answer.status, "the first" in answer.err) == (0, True)
    newer.write_text(answer.out)
    path = outside(kept)
    kept.stop()
    copy = kept.root / "copy.db"
    shutil.copy(kept.home.data / "stockade.db", copy)
    kept.start()
    work(kept)
    newest = kept.root / "newest"
    newest.write_text(kept.cli("ledger", "checkpoint").out)
    kept.stop()

    replace_database(kept, copy)
    path.unlink()
    kept.start()
    fetch = ("ledger", "checkpoint", "--key", key, "--since")
    behind = kept.cli(*fetch, str(newest))
    assert (behind.status != 0, behind.out, "ROLLED_BACK" in behind.err) == (True, "", True)
    for _ in range(3):
        work(kept)
    forked = kept.cli(*fetch, str(newest))
    assert (forked.status != 0, forked.out, "FORKED" in forked.err) == (True, "", True)
    assert kept.cli(*fetch, str(newer)).status == 0


def test_status_and_doctor_say_where_checkpoints_are(kept: RunningDaemon) -> None:
    """And that they do not get there any more: named, with what to do; calls go on."""
    kept.start()
    work(kept)
    path = outside(kept)
    assert until(path.exists)
    assert f"in file {path}" in kept.cli("status").out.replace("\n", " ").replace("  ", "")
    path.write_bytes(b"no checkpoint")
    work(kept)

    def reason() -> str:
        status = json.loads(kept.cli("status", "--json").out)
        return str(status["ledger_checkpoint"]["places"][0].get("reason", ""))

    assert until(lambda: reason() == "CHECKPOINT_FILE_OTHER")
    said = kept.cli("doctor", "--json").lines()
    found = [one for one in said if str(one.get("what", "")).startswith("checkpoints to")]
    assert [one["ok"] for one in found] == [False]
    assert "checkpoint_file" in str(found[0]["fix"])
    work(kept)
    path.unlink()  # the operator looked at it, and took it away
    assert until(lambda: reason() == "")
    assert path.read_bytes().startswith(b"stockade/")
