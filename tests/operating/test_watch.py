"""The watched folder: what is saved there and valid is in force; what is not changes nothing."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from stockade.client import Client
from stockade.v1 import call_pb2, daemon_pb2
from tests.conftest import config_with
from tests.promises.acting import run, until
from tests.running import RunningDaemon, finished, running

NO_READS = (
    '@id("no-reads") forbid (principal, action == Action::"call", resource == Tool::"read_file");\n'
)
WATCH = "[policy]\nwatch = true\nwatch_quiet_seconds = 0.3\n"
READ = {"workspace": "work", "path": "hello.txt"}


@pytest.fixture(scope="module")
def watching(workspace: Path) -> Iterator[RunningDaemon]:
    with running(config_with(workspace) + WATCH) as made:
        yield made


@pytest.fixture
def extra(watching: RunningDaemon) -> Iterator[Path]:
    """A file in the folder that is taken away again, and what that changes is waited for."""
    path = watching.home.policies / "extra.cedar"
    yield path
    path.unlink(missing_ok=True)
    with watching.client() as owner:
        assert until(lambda: not named(owner, "extra.cedar") and not folder(owner).reason)


def folder(client: Client) -> daemon_pb2.GetStatusResponse.PolicyFolder:
    return client.status().policy_folder


def named(client: Client, name: str) -> bool:
    """Whether the set in force has such a file."""
    return name in {file.name for file in client.get_policy().files}


def reads(client: Client) -> bool:
    """Whether the tool that reads may still be called."""
    return finished(run(client, "read_file", **READ)).state == call_pb2.CALL_STATE_SUCCEEDED


def test_what_is_saved_is_in_force(watching: RunningDaemon, extra: Path) -> None:
    """A new file, its change and its removal, each a version of its own that says where from."""
    with watching.client() as owner:
        assert folder(owner).watched
        before = owner.status().policy_version
        extra.write_text(NO_READS)
        assert until(lambda: not reads(owner))
        newest = owner.list_policy_versions().versions[0]
        assert (newest.cause, newest.activated_by) == ("watched", "stockaded")
        assert newest.version == before + 1
        extra.unlink()
        assert until(lambda: reads(owner))
        assert owner.status().policy_version == before + 2


def test_what_is_not_valid_changes_nothing_and_is_said(
    watching: RunningDaemon, extra: Path
) -> None:
    """The set before goes on deciding; status and log name file, line and reason until mended."""
    with watching.client() as owner:
        version = owner.status().policy_version
        extra.write_text(NO_READS + "permit (\n")
        assert until(lambda: folder(owner).reason == "POLICY_INVALID")
        told = folder(owner)
        assert "extra.cedar:" in told.message
        assert told.fix
        assert reads(owner)
        assert owner.status().policy_version == version
        assert '"policy.refused"' in watching.log
        shown = watching.cli("status").out
        assert "REFUSED, POLICY_INVALID" in shown
        extra.write_text(NO_READS)
        assert until(lambda: not reads(owner))
        assert until(lambda: not folder(owner).reason)


def test_half_a_change_is_not_taken(watching: RunningDaemon, extra: Path) -> None:
    """A file that stays open for writing, valid as far as it goes, waits until it is closed."""
    with watching.client() as owner:
        version = owner.status().policy_version
        with extra.open("w") as writer:
            writer.write(NO_READS)
            writer.flush()
            assert not until(lambda: owner.status().policy_version != version, seconds=2.5)
            assert reads(owner)
            writer.write("// and the rest\n")
        assert until(lambda: owner.status().policy_version == version + 1)
        [text] = [f.text for f in owner.get_policy().files if f.name == extra.name]
        assert text.endswith("// and the rest\n")


def test_a_rollback_is_not_undone(watching: RunningDaemon, extra: Path) -> None:
    """The folder is applied when it changes: not at the next look, and not at the next start."""
    extra.write_text(NO_READS)
    with watching.client() as owner:
        assert until(lambda: not reads(owner))
        back = owner.rollback_policy()
        assert not until(lambda: owner.status().policy_version != back.version, seconds=2)
        assert reads(owner)
    watching.restart()
    with watching.client() as owner:
        assert not until(lambda: owner.status().policy_version != back.version, seconds=2)
        assert reads(owner)
        extra.write_text(NO_READS + "// changed\n")
        assert until(lambda: not reads(owner))


def test_a_change_while_the_daemon_was_down(watching: RunningDaemon, extra: Path) -> None:
    """It is applied at the next start, and not before it has been read whole."""
    watching.stop()
    extra.write_text(NO_READS)
    watching.start()
    with watching.client() as owner:
        assert until(lambda: not reads(owner))


def test_a_folder_that_is_gone(watching: RunningDaemon) -> None:
    """No folder is not an empty set: what is in force stays, and is not lost with it."""
    away = watching.home.policies.with_name("away")
    with watching.client() as owner:
        version = owner.status().policy_version
        watching.home.policies.rename(away)
        assert until(lambda: folder(owner).reason == "POLICY_INVALID")
        assert reads(owner)
        away.rename(watching.home.policies)
        assert until(lambda: not folder(owner).reason)
        assert owner.status().policy_version == version


def test_what_somebody_puts_in_its_place_ends_no_daemon(watching: RunningDaemon) -> None:
    """A name that is no text, and a file where the folder was: said, and then as it was before."""
    policies = watching.home.policies
    odd, away = policies / os.fsdecode(b"caf\xe9.cedar"), policies.with_name("away")
    with watching.client() as owner:
        digest = owner.status().policy_digest
        odd.write_text("// x")
        assert until(lambda: folder(owner).reason == "POLICY_INVALID")
        odd.unlink()
        assert until(lambda: not folder(owner).reason)
        policies.rename(away)
        policies.write_text("x")
        policies.chmod(0o600)
        assert until(lambda: folder(owner).reason == "POLICY_INVALID")
        policies.unlink()
        away.rename(policies)
        assert until(lambda: not folder(owner).reason)
        assert owner.status().policy_digest == digest
    assert "Traceback" not in watching.log


def test_nothing_is_watched_unless_it_is_asked_for(daemon: RunningDaemon) -> None:
    """By default the folder is a working copy, and nothing in it counts until it is applied."""
    (daemon.home.policies / "extra.cedar").write_text(NO_READS)
    with daemon.client() as owner:
        assert not folder(owner).watched
        assert not until(lambda: not reads(owner), seconds=3)
