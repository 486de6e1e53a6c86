"""A vault is brought back on another machine: another home, another root, and the passphrase."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest

from stockade.v1 import call_pb2
from tests.operating.keychains import PRESENT, session
from tests.promises.acting import ALONE, apply, python_tool, run
from tests.running import CONFIG, RunningDaemon, finished, make_directory, output, running

PASSPHRASE = "correct horse battery staple"
REFERENCES = ("secret://global/token", "secret://tool/needs/own")
VALUES = {reference: secrets.token_hex(16).encode() for reference in REFERENCES}
REST = "".join(
    f'[[secrets]]\nreference = "{reference}"\nenv = "{name}"\n'
    for name, reference in zip(("TOKEN", "OWN"), REFERENCES, strict=True)
)
CODE = "import os\nprint(os.environ['TOKEN'][::-1], os.environ['OWN'][::-1])\n"
GRANT = 'permit (principal, action == Action::"use_secret", resource);'
BACKWARDS = b" ".join(VALUES[reference][::-1] for reference in REFERENCES) + b"\n"


@pytest.fixture(scope="module")
def backup() -> Iterator[Path]:
    """Of a vault whose machine is gone since: its home was removed with its root key."""
    folder = make_directory("stockade-carried-")
    with running() as first:
        with first.client() as client:
            client.put_secret(REFERENCES[0], b"an earlier value")
            for reference, value in VALUES.items():
                client.put_secret(reference, value)
        made = first.cli("secrets", "backup", str(folder / "vault.backup"), stdin=PASSPHRASE)
        assert made.status == 0, made.err
    yield folder / "vault.backup"
    (folder / "vault.backup").unlink()
    folder.rmdir()


def restored(daemon: RunningDaemon, backup: Path, passphrase: str = PASSPHRASE) -> int:
    return daemon.cli("secrets", "restore", str(backup), stdin=passphrase).status


def used(daemon: RunningDaemon) -> None:
    """A tool on that machine gets the values."""
    with daemon.client() as client:
        python_tool(client, "needs", CODE, rest=REST)
        apply(client, ALONE + GRANT)
        events = run(client, "needs")
        assert finished(events).state == call_pb2.CALL_STATE_SUCCEEDED
        assert output(events) == BACKWARDS


def test_the_file_tells_nobody_anything(backup: Path) -> None:
    """For its owner alone, and without a value in it."""
    assert backup.stat().st_mode & 0o777 == 0o600
    content = backup.read_bytes()
    assert not [value for value in VALUES.values() if value in content]


@pytest.mark.skipif(not PRESENT, reason="dbus-daemon or gnome-keyring-daemon is not installed")
def test_to_a_machine_with_a_keychain(backup: Path) -> None:
    """A new home and an empty keychain: the secrets are used there, under a root made there."""
    with session() as login:
        config = CONFIG.replace('root = "file"', 'root = "keychain"')
        with running(config, **login.environment) as second:
            assert restored(second, backup) == 0
            used(second)
            second.restart()
            used(second)
            listed = second.cli("secrets", "list")
            assert all(reference in listed.out for reference in REFERENCES)


def test_a_passphrase_that_is_wrong_brings_nothing(backup: Path) -> None:
    """Nor a file that was cut off; and nothing is half restored. Then it is, with the right one."""
    with running() as second:
        assert restored(second, backup, "correct horse battery stapler") != 0
        whole = backup.read_bytes()
        cut = second.root / "cut.backup"
        cut.write_bytes(whole[:-1])
        assert restored(second, cut) != 0
        with second.client() as client:
            assert not client.list_secrets().secrets
        assert restored(second, backup) == 0
        used(second)


def test_what_is_there_is_left_unless_told_otherwise(backup: Path) -> None:
    """A restore replaces nothing of the machine it comes to."""
    with running() as second:
        with second.client() as client:
            client.put_secret(REFERENCES[0], b"this machine's own")
        assert restored(second, backup) == 0
        with second.client() as client:
            versions = {one.reference: one.version for one in client.list_secrets().secrets}
            assert versions[REFERENCES[0]] == 1
            assert versions[REFERENCES[1]] > 1
        answer = second.cli("secrets", "restore", str(backup), "--overwrite", stdin=PASSPHRASE)
        assert answer.status == 0, answer.err
        used(second)
