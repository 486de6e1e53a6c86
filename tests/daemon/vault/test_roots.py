"""The root key: which one is taken up, how it is changed, and what is noticed."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from daemon.config import load_config
from daemon.errors import Conflict, Fault, Unavailable
from daemon.vault.standing import Held, Place, Standing
from stockade.home import Home
from tests.daemon.vault.opened import TOKEN, WORDS, home_at, opened
from tests.identity.softhsm import LABEL, MODULE, SoftToken, look_again
from tests.running import CONFIG
from vault.errors import VaultError
from vault.rootkey import generate_root
from vault.secret import Secret

pytestmark = pytest.mark.anyio

OTHER = "secret://tool/deploy/key"
PASSPHRASE = CONFIG.replace('root = "file"', 'root = "passphrase"')


def root_files(home: Home) -> list[str]:
    return sorted(path.name for path in home.data.glob("vault.*") if path.suffix != ".mark")


async def test_a_root_is_taken_up_once_and_then_expected(tmp_path: Path) -> None:
    """Another root in the same place is refused, by its id, before anything is sealed under it."""
    home = home_at(tmp_path)
    async with opened(home) as it:
        await it.put(TOKEN, b"value")
    (home.data / "vault.root").write_text(generate_root(lambda n: bytes(range(n))))
    async with opened(home) as it:
        state = it.vault.keeper.state
        assert (state.available, state.code) == (False, "ROOT_MISMATCH")
        assert "stockade secrets unlock" in state.fix
        with pytest.raises(Unavailable) as caught:
            await it.put(TOKEN, b"other")
        assert caught.value.code == "VAULT_UNAVAILABLE"


async def test_a_lost_root_is_not_replaced(tmp_path: Path) -> None:
    """Once a root was in use, a start without it makes no new one."""
    home = home_at(tmp_path)
    async with opened(home) as it:
        await it.put(TOKEN, b"value")
    (home.data / "vault.root").unlink()
    async with opened(home) as it:
        assert it.vault.keeper.state.code == "ROOT_ABSENT"
    assert not (home.data / "vault.root").exists()


@pytest.mark.parametrize("kind", ["", "passphrase"])
async def test_changing_the_root(tmp_path: Path, kind: str) -> None:
    """All versions move; both old files and old wrapped keys are gone; a new start finds it."""
    home = home_at(tmp_path)
    async with opened(home) as it:
        for number in range(3):
            await it.put(TOKEN, b"value-%d" % number)
        await it.put(OTHER, b"other")
        before = root_files(home)
        done = await it.vault.roots.rotate(kind, "", Secret(WORDS) if kind else None, "me")
        assert (done.secrets, done.left) == (4, ())
        assert await it.value(TOKEN) == b"value-2"
        await it.put(TOKEN, b"value-3")
        await it.vault.changes.revert(TOKEN, 2, "me")
        assert await it.value(TOKEN) == b"value-1"
        after = root_files(home)
        assert len(after) == 1
        assert not set(after) & set(before)
        body = next(e for e in await it.receipts() if e.kind == "vault.root_rotated").canonical
        assert b'"from":{"key":' in body
    assert load_config(home.config_file).vault.root == (kind or "file")
    async with opened(home, WORDS if kind else None) as it:
        assert it.vault.keeper.state.available, it.vault.keeper.state
        assert await it.value(TOKEN) == b"value-1"
        assert await it.value(OTHER) == b"other"


async def test_a_root_that_cannot_be_made_changes_nothing(tmp_path: Path) -> None:
    """A passphrase that will not do, a kind that is none, a credential that is not supplied."""
    home = home_at(tmp_path)
    async with opened(home) as it:
        await it.put(TOKEN, b"value")
        for kind, credential, words in (
            ("passphrase", "", b"short"),
            ("nowhere", "", b""),
            ("credential", "no-such", b""),
        ):
            with pytest.raises(Fault) as caught:
                await it.vault.roots.rotate(kind, credential, Secret(words), "me")
            assert caught.value.fix
            assert await it.value(TOKEN) == b"value"
            assert await it.put(OTHER, b"x")
    assert root_files(home) == ["vault.root"]
    async with opened(home) as it:
        assert await it.value(TOKEN) == b"value"


async def test_a_passphrase_is_asked_for_after_each_start(tmp_path: Path) -> None:
    """The first one makes the root; without it the vault is locked; a wrong one changes nothing."""
    home = home_at(tmp_path, PASSPHRASE)
    async with opened(home) as it:
        assert it.vault.keeper.state.code == "ROOT_ABSENT"
        state = await it.vault.unlock(Secret(WORDS), create=True, principal="me")
        assert state.available
        await it.put(TOKEN, b"value")
    async with opened(home) as it:
        state = it.vault.keeper.state
        assert (state.code, "secrets unlock" in state.fix) == ("ROOT_LOCKED", True)
        state = await it.vault.unlock(Secret(b"not the passphrase"), create=True, principal="me")
        assert state.code == "PASSPHRASE_WRONG"
        assert (await it.vault.unlock(Secret(WORDS), principal="me")).available
        assert await it.value(TOKEN) == b"value"
        assert (await it.kinds()).count("vault.unlock") == 3


async def test_a_passphrase_from_a_private_file(tmp_path: Path) -> None:
    """Named in the configuration, it is read at the start, if nobody else could have read it."""
    words = tmp_path / "words"
    words.touch(0o600)
    words.write_bytes(WORDS + b"\n")
    section = PASSPHRASE.replace("[log]", f'passphrase_file = "{words}"\n[log]')
    home = home_at(tmp_path / "home", section)
    async with opened(home) as it:
        await it.vault.unlock(create=True, principal="me")
        await it.put(TOKEN, b"value")
    async with opened(home) as it:
        assert await it.value(TOKEN) == b"value"
    words.chmod(0o644)
    with pytest.raises(VaultError) as caught:
        async with opened(home):
            pass
    assert caught.value.code == "ROOT_EXPOSED"


async def test_a_systemd_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Supplied to the service it is the root; not supplied, the vault says how to mend that."""
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    supplied = credentials / "stockade-vault-root"
    supplied.write_text(generate_root(lambda n: bytes(range(n))))
    supplied.chmod(0o400)
    home = home_at(tmp_path / "home", CONFIG.replace('root = "file"', 'root = "credential"'))
    async with opened(home) as it:
        assert it.vault.keeper.state.code == "ROOT_ABSENT"
        assert "LoadCredential" in it.vault.keeper.state.fix
        monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credentials))
        assert (await it.vault.unlock(principal="me")).available
        await it.put(TOKEN, b"value")
        with pytest.raises(Fault) as caught:
            await it.vault.roots.rotate("", "stockade-vault-root", None, "me")
        assert caught.value.code == "ROOT_EXISTS"
        done = await it.vault.roots.rotate("file", "", None, "me")
        assert "destroy it where it is kept" in done.left[0]
        assert await it.value(TOKEN) == b"value"
    monkeypatch.delenv("CREDENTIALS_DIRECTORY")
    async with opened(home) as it:
        assert await it.value(TOKEN) == b"value"


async def test_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Into a real token and, by another change, to another key in it; the old key is destroyed."""
    token = SoftToken.make(tmp_path)
    for name, value in token.environ.items():
        monkeypatch.setenv(name, value)
    look_again()
    settings = f'module = "{MODULE}"\ntoken = "{LABEL}"\npin_file = "{token.pin_file}"\n[log]'
    home = home_at(tmp_path / "home", CONFIG.replace("[log]", settings))
    async with opened(home) as it:
        await it.put(TOKEN, b"value")
        await it.vault.roots.rotate("token", "", None, "me")
        (first,) = token.objects()
        await it.vault.roots.rotate("", "", None, "me")
        (second,) = token.objects()
        assert first["LABEL"] != second["LABEL"]
        assert await it.value(TOKEN) == b"value"
    async with opened(home) as it:
        assert await it.value(TOKEN) == b"value"


async def test_the_configuration_cannot_exchange_the_root(tmp_path: Path) -> None:
    """Editing the pinned kind by hand takes nothing for the root that is none."""
    home = home_at(tmp_path)
    async with opened(home) as it:
        await it.put(TOKEN, b"value")
    text = home.config_file.read_text()
    home.config_file.write_text(text.replace('root = "file"', 'root = "passphrase"'))
    async with opened(home) as it:
        state = it.vault.keeper.state
        assert (state.available, state.code) == (False, "VAULT_ROOT_PINNED")
        assert 'root = "file"' in state.fix
        assert (
            await it.vault.unlock(Secret(WORDS), create=True, principal="me")
        ).available is False
    assert root_files(home) == ["vault.root"]


async def test_a_configuration_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """The root moves all the same; the line to write is told; the next start works either way."""
    home = home_at(tmp_path, CONFIG.replace('root = "file"', '"root" = "file"'))
    async with opened(home) as it:
        await it.put(TOKEN, b"value")
        done = await it.vault.roots.rotate("passphrase", "", Secret(WORDS), "me")
        assert 'root = "passphrase"' in done.left[0]
    async with opened(home, WORDS) as it:
        assert await it.value(TOKEN) == b"value"


def copy_database(home: Home, to: Path) -> None:
    """As a backup program would."""
    with (
        closing(sqlite3.connect(home.data / "stockade.db")) as source,
        closing(sqlite3.connect(to)) as target,
        target,
    ):
        source.backup(target)
    source.close()
    target.close()


def put_back(home: Home, backup: Path) -> None:
    for path in home.data.glob("stockade.db*"):
        path.unlink()
    shutil.copy(backup, home.data / "stockade.db")
    (home.data / "stockade.db").chmod(0o600)


async def test_a_restored_database_is_noticed(tmp_path: Path) -> None:
    """Secrets removed since would be back: nothing is opened until somebody says so."""
    home = home_at(tmp_path / "home")
    backup = tmp_path / "backup.db"
    async with opened(home) as it:
        await it.put(TOKEN, b"leaked-and-replaced")
    copy_database(home, backup)
    async with opened(home) as it:
        await it.vault.changes.revoke(TOKEN, True, "me")
    put_back(home, backup)
    async with opened(home) as it:
        state = it.vault.keeper.state
        assert (state.available, state.code) == (False, "VAULT_ROLLED_BACK")
        assert "accept-rollback" in state.fix
        with pytest.raises(Unavailable):
            await it.value(TOKEN)
        await it.vault.roots.accept_rollback("me")
        assert it.vault.keeper.state.available
        assert (await it.kinds())[-1] == "vault.rollback_accepted"
        with pytest.raises(Conflict):
            await it.vault.roots.accept_rollback("me")
    async with opened(home) as it:
        assert await it.value(TOKEN) == b"leaked-and-replaced"


@pytest.mark.parametrize("how", ["gone", "garbage"])
async def test_a_note_that_is_gone_is_noticed(tmp_path: Path, how: str) -> None:
    """Whoever restores the database cannot just take the note away, or damage it."""
    home = home_at(tmp_path)
    async with opened(home) as it:
        await it.put(TOKEN, b"value")
    note = home.data / "vault.mark"
    note.unlink() if how == "gone" else note.write_text("{}{")
    async with opened(home) as it:
        assert it.vault.keeper.state.code == "VAULT_ROLLED_BACK"


async def test_another_history_of_the_same_length_is_noticed(tmp_path: Path) -> None:
    """As many changes, but others: the state's name tells."""
    home = home_at(tmp_path / "home")
    backup = tmp_path / "backup.db"
    async with opened(home):
        pass
    copy_database(home, backup)
    async with opened(home) as it:
        await it.put(TOKEN, b"one")
    note = (home.data / "vault.mark").read_bytes()
    put_back(home, backup)
    (home.data / "vault.mark").unlink()
    async with opened(home) as it:
        await it.put(TOKEN, b"two")
    (home.data / "vault.mark").write_bytes(note)
    async with opened(home) as it:
        assert it.vault.keeper.state.code == "VAULT_ROLLED_BACK"


def test_what_is_recorded_of_roots_comes_back() -> None:
    """The one row of the database that names the roots is read as it was written."""
    standing = Standing(
        Held(Place("file"), "00" * 8),
        Place("token", "a1"),
        "11" * 8,
        (Place("keychain", "x"),),
        True,
    )
    assert Standing.decode(standing.encode()) == standing
    coming = standing.coming()
    assert coming == Held(Place("token", "a1"), "11" * 8)
    after = standing.taken_over(coming)
    assert after == Standing(coming, retired=(Place("keychain", "x"), Place("file")), repin=True)
    assert after.coming() is None
    assert Standing.decode(None) is None
