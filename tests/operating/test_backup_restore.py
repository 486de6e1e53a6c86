"""A home in one file and out of it again: whole and verified, or not at all."""

import io
import os
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from daemon.working_folder import BACKUP, working_folder
from ledger.keys import parse_public
from ledger.verify import verify
from stockade.cli import installed
from stockade.cli.backup import backup
from stockade.client import Client
from stockade.v1 import call_pb2
from tests.promises.acting import ALONE, add_tool, apply, run, until
from tests.running import (
    STOCKADE,
    RunningDaemon,
    finished,
    make_directory,
    remove_directory,
    running,
)

WORDS = b"correct horse battery staple"
CHECKS = ["/bin/sh", "-c", 'test "$TOKEN" = kept-value']
WANTS = '[[secrets]]\nreference = "secret://global/token"\nenv = "TOKEN"\n'
GRANT = 'permit (principal, action == Action::"use_secret", resource);'
PASSED = call_pb2.CALL_STATE_SUCCEEDED
# What a mode refuses is refused to us, too, as to every user but root.
BOUNDED = ("setpriv", "--bounding-set", "-dac_override,-dac_read_search")
AS_OTHERS = BOUNDED if os.geteuid() == 0 else ()


def stockade(
    daemon: RunningDaemon, *arguments: str, words: bytes = WORDS
) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [*AS_OTHERS, STOCKADE, *arguments],
        input=words,
        env=daemon.environ(),
        capture_output=True,
        timeout=400,
        check=False,
    )


@pytest.fixture
def elsewhere() -> Iterator[RunningDaemon]:
    """A home that is not there yet."""
    root = make_directory()
    root.rmdir()
    daemon = RunningDaemon(root, initialised=True)
    yield daemon
    daemon.stop()
    remove_directory(root)


@pytest.fixture(scope="module")
def ended() -> Iterator[RunningDaemon]:
    """A home of a daemon that has done something, and has ended."""
    with running() as daemon:
        with daemon.client() as client:
            run(client, "nothing")
        daemon.stop()
        yield daemon


@pytest.fixture(scope="module")
def kept(ended: RunningDaemon) -> bytes:
    """Its backup."""
    file = ended.root / "kept.backup"
    assert stockade(ended, "backup", str(file)).returncode == 0
    return file.read_bytes()


def ledger(client: Client) -> bytes:
    with client.export_ledger() as answers:
        return b"".join(answer.lines for answer in answers)


def test_a_backup_of_a_serving_daemon_is_a_daemon_again(elsewhere: RunningDaemon) -> None:
    """Its ledger, tools, policies, devices and secrets; while it was made, calls went on."""
    with running() as daemon, daemon.client() as client:
        client.put_secret("secret://global/token", b"kept-value")
        add_tool(client, "checks", CHECKS, rest=WANTS)
        apply(client, ALONE + GRANT)
        before = ledger(client)
        ends: list[int] = []
        stopping = threading.Event()

        def calls() -> None:
            while not stopping.is_set():
                ends.append(finished(run(client, "checks")).state)

        calling = threading.Thread(target=calls)
        calling.start()
        file = daemon.root / "home.backup"
        backed_up = stockade(daemon, "backup", str(file))
        stopping.set()
        calling.join()
        assert backed_up.returncode == 0, backed_up.stderr
        assert set(ends) == {PASSED}
        assert file.stat().st_mode & 0o777 == 0o600
        digest = client.status().policy_digest
        daemon.stop()
        restored = stockade(elsewhere, "restore", str(file))
        assert restored.returncode == 0, restored.stderr
    elsewhere.start()
    keys = parse_public(elsewhere.home.ledger_keys.read_bytes())
    with elsewhere.client() as client:
        assert client.status().policy_digest == digest
        assert finished(run(client, "checks")).state == PASSED
        assert ledger(client).startswith(before)
        assert verify(ledger(client).splitlines(), keys).covered == 0


def refused(daemon: RunningDaemon, data: bytes, words: bytes = WORDS) -> str:
    """What is said when this is restored, after which there is what there was."""
    there = daemon.root.exists()
    file = make_directory() / "bad.backup"
    try:
        file.write_bytes(data)
        done = stockade(daemon, "restore", str(file), words=words)
    finally:
        shutil.rmtree(file.parent)
    assert done.returncode == 1
    assert daemon.root.exists() == there
    assert not there or list(daemon.root.iterdir()) == []
    return done.stderr.decode()


def test_nothing_that_is_there_is_touched(ended: RunningDaemon, kept: bytes) -> None:
    """A restore over a home is refused, as is a backup over a file."""
    file = ended.root / "kept.backup"
    before = {path: path.stat().st_mtime_ns for path in ended.root.rglob("*")}
    done = stockade(ended, "restore", str(file))
    assert done.returncode == 1
    assert b"HOME_NOT_EMPTY" in done.stderr
    assert stockade(ended, "backup", str(file)).returncode == 2
    assert {path: path.stat().st_mtime_ns for path in ended.root.rglob("*")} == before
    assert file.read_bytes() == kept


def test_without_the_passphrase_there_is_nothing(elsewhere: RunningDaemon, kept: bytes) -> None:
    """Nothing of the home is in the file in the clear."""
    assert "PASSPHRASE_WRONG" in refused(elsewhere, kept, b"another passphrase")
    for clear in (b"PRIVATE KEY", b"SQLite format", b"config.toml", b"permit ("):
        assert clear not in kept


def test_what_was_changed_or_cut_off_is_refused(elsewhere: RunningDaemon, kept: bytes) -> None:
    """In the middle, at the end, behind the end; and what is no backup."""
    flipped = bytearray(kept)
    flipped[len(kept) // 2] ^= 1
    for bad in (bytes(flipped), kept[:-40], kept[: len(kept) // 2], kept + b"x", b"", kept[:93]):
        assert "BACKUP_DAMAGED" in refused(elsewhere, bad)
    elsewhere.root.mkdir()
    assert "no such backup" in refused(elsewhere, b"a page of another kind\n" * 99)


@pytest.fixture
def copied(ended: RunningDaemon, elsewhere: RunningDaemon) -> Iterator[RunningDaemon]:
    """A home like the one that ended, to be spoilt. `elsewhere` is another."""
    root = make_directory()
    shutil.copytree(ended.root, root, dirs_exist_ok=True)
    (root / "kept.backup").unlink(missing_ok=True)
    assert elsewhere.root != root
    yield RunningDaemon(root)
    remove_directory(root)


def spoilt(daemon: RunningDaemon, statement: str) -> bytes:
    """The backup of a home whose database somebody has written to."""
    with closing(sqlite3.connect(daemon.home.data / "stockade.db")) as connection, connection:
        assert connection.execute(statement).rowcount == 1
    file = daemon.root / "spoilt.backup"
    done = stockade(daemon, "backup", str(file))
    assert done.returncode == 0, done.stderr
    return file.read_bytes()


@pytest.mark.parametrize("text", ["CAST(replace(canonical, '{', ' {') AS BLOB)", "'text'"])
def test_a_ledger_that_does_not_verify_is_refused(
    copied: RunningDaemon, elsewhere: RunningDaemon, text: str
) -> None:
    """It was backed up edited; it is not put in place."""
    edit = f"UPDATE receipts SET canonical = {text} WHERE sequence = 2"  # noqa: S608 - our own
    assert "does not verify" in refused(elsewhere, spoilt(copied, edit))


def test_a_newer_database_is_refused(copied: RunningDaemon, elsewhere: RunningDaemon) -> None:
    """An older daemon would not understand it."""
    edit = "UPDATE alembic_version SET version_num = '9999'"
    assert "STORE_NEWER" in refused(elsewhere, spoilt(copied, edit))


def test_what_is_linked_into_a_home_is_in_its_backup(
    copied: RunningDaemon, elsewhere: RunningDaemon
) -> None:
    """As what it is; a link in a tool's folder is not followed, and is said to be left out."""
    kept_elsewhere = copied.root / "dotfiles"
    kept_elsewhere.mkdir()
    for name in ("config.toml", "policies"):
        (copied.root / name).rename(kept_elsewhere / name)
        (copied.root / name).symlink_to(kept_elsewhere / name)
    folder = copied.home.tools / "posing"
    folder.mkdir(parents=True)
    (folder / "stolen").symlink_to(copied.home.client / "key.pem")
    file = copied.root / "linked.backup"
    done = stockade(copied, "backup", str(file))
    assert done.returncode == 0, done.stderr
    assert b"left out, as no plain files or folders: config/tools/posing/stolen" in done.stderr
    assert stockade(elsewhere, "restore", str(file)).returncode == 0
    config = elsewhere.home.config_file
    assert config.read_bytes() == (kept_elsewhere / "config.toml").read_bytes()
    assert not config.is_symlink()
    policies = sorted(one.name for one in (kept_elsewhere / "policies").iterdir())
    assert sorted(one.name for one in elsewhere.home.policies.iterdir()) == policies
    assert list((elsewhere.home.tools / "posing").iterdir()) == []


def test_a_folder_of_any_depth_is_in_the_backup(copied: RunningDaemon) -> None:
    """Whatever somebody has left among the tools; none of them, but no reason for no backup."""
    copied.home.tools.mkdir(parents=True, exist_ok=True)
    at = os.open(copied.home.tools, os.O_RDONLY)
    for _ in range(1100):
        os.mkdir("a", dir_fd=at)
        below = os.open("a", os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(at)
    try:
        done = stockade(copied, "backup", str(copied.root / "deep.backup"))
    finally:
        subprocess.run(["rm", "-rf", str(copied.home.tools)], check=True)  # deeper than rmtree goes
    assert done.returncode == 0, done.stderr


def test_a_restore_that_is_overtaken_leaves_nothing(elsewhere: RunningDaemon, kept: bytes) -> None:
    """Somebody makes a data directory while it is unpacked: theirs stays, and nothing of ours."""
    folder = make_directory()
    pipe = folder / "backup"
    os.mkfifo(pipe)

    def write() -> None:
        with pipe.open("wb") as out:  # once it is read, the home has been found empty
            (elsewhere.home.data / "theirs").mkdir(parents=True)
            out.write(kept)

    writer = threading.Thread(target=write, daemon=True)  # who reads nothing keeps it for ever
    writer.start()
    done = stockade(elsewhere, "restore", str(pipe))
    shutil.rmtree(folder)
    assert done.returncode == 1
    assert b"HOME_NOT_EMPTY" in done.stderr or b"Directory not empty" in done.stderr, done.stderr
    writer.join()
    found = sorted(str(one.relative_to(elsewhere.root)) for one in elsewhere.root.rglob("*"))
    assert found == ["data", "data/theirs"]


def test_a_home_whose_data_is_a_link_is_restored_to_where_it_leads(
    elsewhere: RunningDaemon, kept: bytes
) -> None:
    """To the disk that has room, and the link stays; the daemon serves from there."""
    folder = make_directory()
    (folder / "backup").write_bytes(kept)
    elsewhere.root.mkdir()
    elsewhere.home.data.symlink_to(folder / "large" / "stockade")
    done = stockade(elsewhere, "restore", str(folder / "backup"))
    assert done.returncode == 0, done.stderr
    assert elsewhere.home.data.is_symlink()
    elsewhere.start()
    with elsewhere.client() as client:
        run(client, "nothing")
    elsewhere.stop()
    remove_directory(folder)


def test_a_large_home_is_not_given_up_on(
    ended: RunningDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What takes as long as the ledger is long is not killed after the time others have."""
    monkeypatch.setattr(installed, "SECONDS", 0.001)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(WORDS)))
    for name, value in ended.environ().items():
        monkeypatch.setenv(name, value)
    backup(ended.root / "patient.backup")
    assert (ended.root / "patient.backup").stat().st_size > 0


def left(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.glob(".stockade-*"))


def test_what_a_killed_restore_left_is_removed_by_the_next(
    elsewhere: RunningDaemon, kept: bytes
) -> None:
    """And not what another one that still works holds, nor anything of another name, nor a link."""
    elsewhere.root.mkdir()
    pipe, theirs = elsewhere.root / "pipe", elsewhere.root / ".restore-of-somebody"
    os.mkfifo(pipe)
    theirs.mkdir()
    (elsewhere.root / ".stockade-restore-link").symlink_to(theirs)
    working = [restoring(elsewhere, pipe) for _ in range(2)]
    try:
        assert until(lambda: len(left(elsewhere.root)) == 3)
        working[0].kill()
        working[0].wait()
        (elsewhere.root / "backup").write_bytes(kept)
        done = stockade(elsewhere, "restore", str(elsewhere.root / "backup"))
        assert done.returncode == 0, done.stderr
        assert len(left(elsewhere.root)) == 2
        assert theirs.is_dir()
        working[1].kill()
        working[1].wait()
        elsewhere.start()
        assert left(elsewhere.root) == [".stockade-restore-link"]
    finally:
        for one in working:
            one.kill()
            one.wait()


def test_what_a_killed_backup_left_is_removed_by_the_next(ended: RunningDaemon) -> None:
    """A copy of the database, as large as that: not for ever, and not while it is worked in."""
    with working_folder(BACKUP, ended.home.data):
        for number in range(2):
            (ended.home.data / f".stockade-backup-{number}").mkdir()
            file = ended.root / f"again-{number}.backup"
            assert stockade(ended, "backup", str(file)).returncode == 0
            assert len(left(ended.home.data)) == 1
    assert left(ended.home.data) == []


def restoring(daemon: RunningDaemon, pipe: Path) -> "subprocess.Popen[bytes]":
    """A restore that waits for its file for ever."""
    made = subprocess.Popen(
        [Path(STOCKADE).with_name("stockaded"), "restore", "--file", str(pipe)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=daemon.environ(),
    )
    assert made.stdin is not None
    made.stdin.write(WORDS)
    made.stdin.close()
    return made
