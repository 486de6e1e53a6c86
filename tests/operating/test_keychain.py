"""A daemon whose vault's root is in a real keychain: locked, gone, moved, and put back."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from stockade.client import Client
from stockade.errors import StockadeError
from stockade.v1 import call_pb2
from tests.operating.keychains import PRESENT, Session, session
from tests.promises.acting import ALONE, apply, python_tool, run
from tests.running import CONFIG, RunningDaemon, finished, make_directory, output, remove_directory

pytestmark = pytest.mark.skipif(
    not PRESENT, reason="dbus-daemon or gnome-keyring-daemon is not installed"
)
REFERENCE = "secret://global/token"
VALUE = b"kept-by-the-keychain-Vv27"
REST = f'[[secrets]]\nreference = "{REFERENCE}"\nenv = "TOKEN"\n'
CODE = "import os\nprint(len(os.environb[b'TOKEN']))\n"
GRANT = 'permit (principal, action == Action::"use_secret", resource);'


@dataclass
class Kept:
    """A daemon in a login session."""

    session: Session
    daemon: RunningDaemon

    def client(self) -> Client:
        return self.daemon.client()

    def uses(self) -> call_pb2.CallEvent.Finished:
        """How a call ends that needs the secret."""
        with self.client() as client:
            events = run(client, "needs")
        end = finished(events)
        if end.state == call_pb2.CALL_STATE_SUCCEEDED:
            assert output(events) == b"%d\n" % len(VALUE)
        return end

    def works(self) -> bool:
        return self.uses().state == call_pb2.CALL_STATE_SUCCEEDED

    def vault(self) -> str:
        """What `stockade status` says."""
        return self.daemon.cli("status").out


@pytest.fixture(scope="module")
def whole() -> Iterator[Kept]:
    """A secret under a root in the keychain, and a tool that is granted it."""
    with session() as login:
        config = CONFIG.replace('root = "file"', 'root = "keychain"')
        daemon = RunningDaemon(make_directory(), config, login.environment)
        try:
            daemon.start()
            with daemon.client() as client:
                python_tool(client, "needs", CODE, rest=REST)
                apply(client, ALONE + GRANT)
            yield Kept(login, daemon)
        finally:
            daemon.stop()
            remove_directory(daemon.root)


@pytest.fixture
def kept(whole: Kept) -> Kept:
    """The secret is there, and nothing is locked."""
    with whole.client() as client:
        client.put_secret(REFERENCE, VALUE)
    return whole


def test_the_root_is_in_the_keychain_and_nowhere_else(kept: Kept) -> None:
    """And found there after a restart."""
    assert kept.works()
    kept.daemon.restart()
    assert kept.works()
    assert not list(kept.daemon.home.data.glob("vault.root*"))
    domain = next(one for one in kept.session.items() if "/" not in one)
    assert kept.session.items() == [domain, f"{domain}/mark"]


def test_a_locked_keychain_takes_the_secrets_and_nothing_else(kept: Kept) -> None:
    """The daemon starts and says why and what mends it; then it is mended without a restart."""
    kept.daemon.stop()
    kept.session.lock()
    kept.daemon.start()
    end = kept.uses()
    assert (end.state, end.reason) == (call_pb2.CALL_STATE_DENIED, "VAULT_UNAVAILABLE")
    assert "locked" in kept.vault()
    with kept.client() as client:
        assert finished(run(client, "list_tools_of_nobody")).reason == "UNKNOWN_TOOL"
        with pytest.raises(StockadeError) as caught:
            client.put_secret(REFERENCE, b"another")
    assert caught.value.reason == "VAULT_UNAVAILABLE"
    assert "stockade secrets unlock" in caught.value.fix
    assert kept.daemon.cli("secrets", "unlock").status != 0
    kept.session.unlock()
    answer = kept.daemon.cli("secrets", "unlock")
    assert answer.status == 0, answer.err
    assert kept.works()


def test_without_a_session_no_other_root_is_made(kept: Kept) -> None:
    """A daemon that no keychain answers has no secrets, and makes no file in its place."""
    bus = {"DBUS_SESSION_BUS_ADDRESS": "unix:path=/nonexistent"}
    kept.daemon.environment = {**kept.session.environment, **bus}
    kept.daemon.restart()
    assert kept.uses().reason == "VAULT_UNAVAILABLE"
    assert not list(kept.daemon.home.data.glob("vault.root*"))
    kept.daemon.environment = kept.session.environment
    kept.daemon.restart()
    assert kept.works()


def test_a_keychain_that_locks_later_does_not_disturb(kept: Kept) -> None:
    """The root is held since the start; changes go on being made, though not noted there."""
    kept.session.lock()
    assert kept.works()
    with kept.client() as client:
        client.put_secret(REFERENCE, VALUE)
    assert kept.works()
    kept.session.unlock()
    kept.daemon.restart()
    assert kept.works()


def test_a_root_is_changed_in_the_keychain(kept: Kept) -> None:
    """Another item takes over, and the one before is deleted."""
    before = kept.session.items()
    answer = kept.daemon.cli("secrets", "rotate", "--root")
    assert answer.status == 0, answer.err
    after = kept.session.items()
    assert len(after) == len(before)
    assert set(after) != set(before)
    assert kept.works()
    kept.daemon.restart()
    assert kept.works()


def test_a_disk_that_is_put_back_is_noticed_by_the_keychain(kept: Kept) -> None:
    """All of the data directory, the note in it too: the note in the keychain is ahead of it."""
    kept.daemon.stop()
    data = kept.daemon.home.data
    copy = kept.daemon.root / "copy"
    shutil.copytree(data, copy, symlinks=True)
    kept.daemon.start()
    with kept.client() as client:
        client.remove_secret(REFERENCE)
    kept.daemon.stop()
    remove_directory(data)
    copy.rename(data)
    kept.daemon.start()
    assert kept.uses().reason == "VAULT_UNAVAILABLE"
    assert "older" in kept.vault()
    assert kept.daemon.cli("secrets", "accept-rollback", "--yes").status == 0
    assert kept.works()
