"""The root key in a real keychain: gnome-keyring on a D-Bus session bus of its own."""

import importlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keyring.core
import pytest
from keyring.backend import KeyringBackend

from vault.errors import Code, RootError
from vault.keychain import ACCEPTED
from vault.root import KeychainRoot, probe_keychain

CHECKOUT = Path(__file__).parents[2]
CHILD = Path(__file__).with_name("keychain_child.py")
SECRET_SERVICE = "keyring.backends.SecretService.Keyring"
needs_keychain = pytest.mark.skipif(
    not (shutil.which("dbus-run-session") and shutil.which("gnome-keyring-daemon")),
    reason="dbus-run-session or gnome-keyring-daemon is not installed",
)

# The daemon opens (the first time: makes) the login keyring with this password and goes to the
# background; dbus-run-session ends the bus, and with it the daemon, when the program is done.
SESSION = 'printf pass | gnome-keyring-daemon --unlock --components=secrets >&2; exec "$@"'


class Home:
    """A home directory in which login sessions can be started one after another."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
        for name in ("RUNTIME", "DATA", "CONFIG", "CACHE"):
            place = folder / name.lower()
            place.mkdir(mode=0o700)
            suffix = "DIR" if name == "RUNTIME" else "HOME"
            self.environment[f"XDG_{name}_{suffix}"] = str(place)

    def run(self, scenario: str, *before: str, **more: str) -> Any:
        command = [*before, sys.executable, "-I", str(CHILD), str(CHECKOUT), scenario]
        done = subprocess.run(
            command,
            env=self.environment | more,
            cwd=self.folder,
            capture_output=True,
            timeout=400,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode()
        return json.loads(done.stdout)

    def session(self, scenario: str, **more: str) -> Any:
        return self.run(scenario, "dbus-run-session", "--", "sh", "-c", SESSION, "sh", **more)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@needs_keychain
def test_a_working_keychain_is_proved_by_use(home: Home) -> None:
    """The probe writes, reads back and deletes, and says which backend did it."""
    works, backend, reason, _ = home.session("probe")
    assert works, reason
    assert backend == SECRET_SERVICE


@needs_keychain
def test_the_probe_leaves_nothing_behind(home: Home) -> None:
    """After probing, the keychain holds what it held before: nothing."""
    assert home.session("leftovers") == []


@needs_keychain
def test_loading_never_creates(home: Home) -> None:
    """An absent root is ROOT_ABSENT, twice."""
    assert home.session("absent") == ["ROOT_ABSENT", "ROOT_ABSENT"]


@needs_keychain
def test_a_root_outlives_the_session(home: Home) -> None:
    """A root is stored, not replaced by a second create, and found in the next login session."""
    made, loaded, again, still = home.session("create")
    assert (loaded, again, still) == (made, "ROOT_EXISTS", made)
    assert home.session("load") == made


@needs_keychain
def test_the_root_is_not_in_the_clear_on_disk(home: Home) -> None:
    """After creating a root no file below the home directory contains its stored form."""
    home.session("create")
    files = [path for path in home.folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".keyring" for path in files)
    assert not any(b"stockade-root-v1" in path.read_bytes() for path in files)


@needs_keychain
def test_a_damaged_item_is_refused(home: Home) -> None:
    """An item that is empty, garbage, or fails its checksum is ROOT_MALFORMED."""
    assert home.session("damaged") == ["ROOT_MALFORMED"] * 4


@needs_keychain
def test_a_locked_keychain_is_named(home: Home) -> None:
    """A locked keychain is ROOT_LOCKED, not absent, and nothing is written in its place."""
    load, create, (works, _, reason, fix) = home.session("locked")
    assert (load, create) == ("ROOT_LOCKED", "ROOT_LOCKED")
    assert not works
    assert "locked" in reason
    assert "unlock" in fix


@needs_keychain
def test_the_session_collection_is_refused(home: Home) -> None:
    """A collection that is forgotten at logout would lose every secret with it."""
    session = {
        "KEYRING_PROPERTY_PREFERRED_COLLECTION": "/org/freedesktop/secrets/collection/session"
    }
    load, create, (works, *_) = home.session("refused", **session)
    assert (load, create, works) == ("KEYCHAIN_REFUSED", "KEYCHAIN_REFUSED", False)


@needs_keychain
def test_a_chain_is_used_by_its_first_link(home: Home) -> None:
    """A chain that leads to a real keychain works, as that keychain."""
    load, _, (works, backend, *_) = home.session("chained")
    assert (load, works, backend) == ("ROOT_ABSENT", True, SECRET_SERVICE)


@pytest.mark.parametrize("scenario", ["refused", "chained"])
def test_no_keychain_is_not_replaced_by_a_file(home: Home, scenario: str) -> None:
    """Without a session bus everything is refused, by an empty chain too, and no file appears."""
    load, create, (works, _, reason, fix) = home.run(scenario)
    assert (load, create) == ("KEYCHAIN_REFUSED", "KEYCHAIN_REFUSED")
    assert not works
    assert "keyring.backends." in reason
    assert "no keychain works here" in reason
    assert "stockade up --vault-root file" in fix
    assert [path for path in home.folder.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("backend", ["null", "fail"])
@needs_keychain
def test_a_configured_backend_that_forgets_is_refused(home: Home, backend: str) -> None:
    """The null and fail backends are refused even where a real keychain runs beside them."""
    chosen = f"keyring.backends.{backend}.Keyring"
    load, create, (works, _, reason, _) = home.session("refused", PYTHON_KEYRING_BACKEND=chosen)
    assert (load, create, works) == ("KEYCHAIN_REFUSED", "KEYCHAIN_REFUSED", False)
    assert chosen in reason


@pytest.fixture
def mute_bus(tmp_path: Path) -> Iterator[str]:
    """Offer a bus that accepts connections and never says a word."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "bus"))
        listener.listen(16)
        yield f"unix:path={tmp_path / 'bus'}"


def test_a_keychain_that_hangs_is_given_up(home: Home, mute_bus: str) -> None:
    """A bus or prompt that never answers is KEYCHAIN_SILENT, and the process can still end."""
    before = time.monotonic()
    answer = home.run("silent", DBUS_SESSION_BUS_ADDRESS=mute_bus)
    assert answer == ["KEYCHAIN_SILENT", "KEYCHAIN_SILENT", False]
    assert time.monotonic() - before < 50  # and not the minute that the test would wait


class Plaintext(KeyringBackend):
    """Keeps passwords perfectly well, for everybody to read."""

    priority = 9.0
    kept: dict[tuple[str, str], str]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.kept = {}

    def get_password(self, service: str, username: str) -> str | None:
        return self.kept.get((service, username))

    def set_password(self, service: str, username: str, password: str) -> None:
        self.kept[service, username] = password

    def delete_password(self, service: str, username: str) -> None:
        del self.kept[service, username]


def test_a_plaintext_backend_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend that works but is not on the list gets nothing to keep."""
    Plaintext.__module__, Plaintext.__qualname__ = "keyrings.alt.file", "PlaintextKeyring"
    backend = Plaintext()
    monkeypatch.setattr(keyring.core, "_keyring_backend", backend)
    with pytest.raises(RootError) as refusal:
        KeychainRoot("stockade-test", "root").create()
    assert refusal.value.code is Code.KEYCHAIN_REFUSED
    assert "keyrings.alt.file.PlaintextKeyring" in refusal.value.message
    assert not probe_keychain().works
    assert backend.kept == {}


@pytest.mark.parametrize("name", sorted(ACCEPTED))
def test_what_is_accepted_by_name_is_a_keychain_of_keyrings(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Each name on the list is that of a backend there is; and it is proved by a round trip."""
    module, _, cls = name.rpartition(".")
    assert issubclass(getattr(importlib.import_module(module), cls), KeyringBackend)
    Plaintext.__module__, Plaintext.__qualname__ = module, cls
    backend = Plaintext()
    monkeypatch.setattr(keyring.core, "_keyring_backend", backend)
    found = probe_keychain()
    assert (found.works, found.backend, backend.kept) == (True, name, {})
    root = KeychainRoot("stockade-test", "root")
    assert root.create().key_id == root.load().key_id
    kept = backend.kept.__setitem__
    monkeypatch.setattr(Plaintext, "set_password", lambda _, *of: kept(of[:2], of[2] + "x"))
    assert not probe_keychain().works


def test_a_keychain_that_forgets_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend with the right name that does not keep its items fails the round trip."""
    Plaintext.__module__, Plaintext.__qualname__ = SECRET_SERVICE.rsplit(".", 1)
    backend = Plaintext()
    monkeypatch.setattr(keyring.core, "_keyring_backend", backend)
    assert probe_keychain().works
    assert backend.kept == {}
    monkeypatch.setattr(Plaintext, "set_password", lambda *_: None)
    assert not probe_keychain().works
    with pytest.raises(RootError) as refusal:
        KeychainRoot("stockade-test", "root").create()
    assert refusal.value.code is Code.KEYCHAIN_REFUSED


def test_a_backend_error_is_named_and_not_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend that puts what it was given into its error does not get it into ours."""

    def indiscreet(_: object, __: str, ___: str, password: str) -> None:
        raise ValueError(password)

    Plaintext.__module__, Plaintext.__qualname__ = SECRET_SERVICE.rsplit(".", 1)
    monkeypatch.setattr(keyring.core, "_keyring_backend", Plaintext())
    monkeypatch.setattr(Plaintext, "set_password", indiscreet)
    with pytest.raises(RootError) as refusal:
        KeychainRoot("stockade-test", "root").create()
    assert refusal.value.code is Code.KEYCHAIN_FAILED
    assert refusal.value.message == "the keychain failed with ValueError"
    assert refusal.value.__cause__ is refusal.value.__context__ is None
