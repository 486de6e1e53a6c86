"""A login session's keychain for a daemon to use: gnome-keyring on a D-Bus bus of its own."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.running import make_directory

PASSWORD = b"login-password-of-this-test"
PATIENCE_SECONDS = 90
PRESENT = bool(shutil.which("dbus-daemon") and shutil.which("gnome-keyring-daemon"))

_ITEMS = """
import secretstorage
items = secretstorage.get_default_collection(secretstorage.dbus_init()).get_all_items()
print("\\n".join(sorted(item.get_attributes().get("username", "") for item in items)))
"""
_UNLOCK = f"""
import secretstorage
from secretstorage.util import DBusAddressWrapper, format_secret, open_session
bus = secretstorage.dbus_init()
collection = secretstorage.get_default_collection(bus)
password = format_secret(open_session(bus), {PASSWORD!r}, "text/plain")
service = DBusAddressWrapper(
    "/org/freedesktop/secrets",
    "org.gnome.keyring.InternalUnsupportedGuiltRiddenInterface",
    bus,
)
service.call("UnlockWithMasterPassword", "o(oayays)", collection.collection_path, password)
print(collection.is_locked())
"""
_KEYRING = ("gnome-keyring-daemon", "--foreground", "--unlock", "--components=secrets")
_LOCK = """
import secretstorage
secretstorage.get_default_collection(secretstorage.dbus_init()).lock()
"""


@dataclass
class Session:
    """A bus, and the keychain on it."""

    folder: Path
    environment: dict[str, str]
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def start(self, *command: str, stdin: bytes = b"") -> "subprocess.Popen[bytes]":
        """Starts a program of the session, with these bytes to read."""
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                command, env=self.environment, cwd=self.folder,
                stdin=subprocess.PIPE, stdout=log, stderr=log,
            )  # fmt: skip
        assert process.stdin is not None
        process.stdin.write(stdin)
        process.stdin.close()
        self.processes.append(process)
        return process

    def run(self, code: str) -> str:
        """What a program of the session prints."""
        done = subprocess.run(
            [sys.executable, "-I", "-c", code],
            env=self.environment, capture_output=True, text=True, timeout=180, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def items(self) -> list[str]:
        """The accounts of all items."""
        return self.run(_ITEMS).splitlines()

    def lock(self) -> None:
        """As at a screen that was locked."""
        self.run(_LOCK)

    def unlock(self) -> None:
        """As when its user logs in again."""
        assert self.run(_UNLOCK) == "False"

    def end(self) -> None:
        """Logs out."""
        for process in reversed(self.processes):
            process.kill()
            process.wait()
        self.processes.clear()


@contextmanager
def session() -> Iterator[Session]:
    """A session, logged in, for as long as the block lasts."""
    folder = make_directory("stockade-session-")
    bus = folder / "bus"
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "DBUS_SESSION_BUS_ADDRESS": f"unix:path={bus}",
    }
    for name in ("RUNTIME_DIR", "DATA_HOME", "CONFIG_HOME", "CACHE_HOME"):
        (folder / name.lower()).mkdir(mode=0o700)
        environment[f"XDG_{name}"] = str(folder / name.lower())
    made = Session(folder, environment)
    try:
        made.start("dbus-daemon", "--session", "--nofork", f"--address=unix:path={bus}")
        _until(bus.exists)
        made.start(*_KEYRING, stdin=PASSWORD)
        _until((folder / "runtime_dir" / "keyring" / "control").exists)
        yield made
    finally:
        made.end()
        shutil.rmtree(folder, ignore_errors=True)


def _until(there: Callable[[], bool]) -> None:
    for _ in range(PATIENCE_SECONDS * 100):
        if there():
            return
        time.sleep(0.01)
    raise AssertionError("the session does not start")
