"""Private keys on disk: no program uses one that others could have read or planted."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from stockade.errors import CredentialsError
from stockade.home import Home
from tests.attacks.starting import refused, serve
from tests.running import RunningDaemon

NOBODY = 65534
KEYS = {
    "authority.key": "FILE",
    "ledger.key": "FILE",
    "vault.root": "ROOT",
}
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")


def fix_of(said: str) -> str:
    """The command that a refusal names."""
    return said.partition("fix: ")[2].strip()


def obey(command: str) -> None:
    """Types it."""
    subprocess.run(shlex.split(command), check=True)


@pytest.mark.parametrize("name", KEYS)
def test_a_key_that_others_could_read_or_change_stops_the_start(
    initialised: RunningDaemon, name: str
) -> None:
    """The daemon does not start with it, and names the command after which it does."""
    key = initialised.home.data / name
    for mode in (0o640, 0o604, 0o620, 0o660, 0o644):
        key.chmod(mode)
        said = refused(serve(initialised), f"{KEYS[name]}_EXPOSED")
        assert f"{mode:04o}" in said
        assert fix_of(said) == f"chmod 600 -- {key}"
    obey(fix_of(said))
    initialised.start()
    initialised.stop()


@as_root
@pytest.mark.parametrize("name", KEYS)
def test_a_key_of_another_user_stops_the_start(initialised: RunningDaemon, name: str) -> None:
    """A key that somebody else owns may be somebody else's."""
    key = initialised.home.data / name
    os.chown(key, NOBODY, NOBODY)
    said = refused(serve(initialised), f"{KEYS[name]}_WRONG_OWNER")
    assert fix_of(said).startswith("if the content is yours: chown ")
    obey(fix_of(said).partition(": ")[2])
    initialised.start()
    initialised.stop()


@pytest.mark.parametrize("name", KEYS)
def test_a_key_behind_a_link_stops_the_start(
    initialised: RunningDaemon, tmp_path: Path, name: str
) -> None:
    """A link in the key's place is not followed, wherever it leads."""
    key = initialised.home.data / name
    key.rename(tmp_path / name)
    key.symlink_to(tmp_path / name)
    refused(serve(initialised), f"{KEYS[name]}_NOT_REGULAR")


def test_the_keys_are_made_private(initialised: RunningDaemon) -> None:
    """Whatever the umask of whoever starts it: 0600, of this user."""
    for name in KEYS:
        status = (initialised.home.data / name).stat()
        assert (status.st_mode & 0o777, status.st_uid) == (0o600, os.geteuid()), name


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_the_client_does_not_use_a_key_that_others_could_read(
    shared_daemon: RunningDaemon, mode: int
) -> None:
    """The command line refuses, names the command that mends it, and works after it."""
    key = shared_daemon.home.client / "key.pem"
    key.chmod(mode)
    try:
        answer = shared_daemon.cli("whoami")
        assert answer.status == 20
        assert "KEY_READABLE" in answer.err
        command = answer.err.partition("run `")[2].partition("`")[0]
        assert command == f"chmod 600 {key}"
        obey(command)
        assert shared_daemon.cli("whoami").status == 0
    finally:
        key.chmod(0o600)


@as_root
def test_the_client_does_not_use_a_key_of_another_user(shared_daemon: RunningDaemon) -> None:
    """A key that somebody planted is not this device's."""
    home: Home = shared_daemon.home
    os.chown(home.client / "key.pem", NOBODY, NOBODY)
    try:
        with pytest.raises(CredentialsError) as caught:
            shared_daemon.client()
        assert caught.value.reason == "KEY_FOREIGN"
    finally:
        os.chown(home.client / "key.pem", os.geteuid(), os.getegid())
