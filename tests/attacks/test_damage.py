"""A data directory that is exposed or damaged: refused, named, and never mended in silence."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.attacks.starting import refused, serve
from tests.running import RunningDaemon


@pytest.mark.parametrize("name", ["authority.key", "ledger.key"])
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_private_key_that_others_could_read(
    initialised: RunningDaemon, name: str, mode: int
) -> None:
    """An exposed key is not used, and not quietly repaired: a person has to decide."""
    path = initialised.home.data / name
    path.chmod(mode)
    said = refused(serve(initialised), "FILE_EXPOSED")
    assert f"chmod 600 -- {path}" in said
    assert path.stat().st_mode & 0o777 == mode


def link(path: Path) -> None:
    """Puts a link to the file in its place."""
    moved = path.with_name(path.name + ".moved")
    path.rename(moved)
    path.symlink_to(moved)


def writing(content: bytes) -> Callable[[Path], None]:
    """Puts that into the file, whose mode stays."""

    def damage(path: Path) -> None:
        path.write_bytes(content)

    return damage


def folder(path: Path) -> None:
    """Puts a folder in the file's place."""
    path.unlink()
    path.mkdir()


BROKEN: dict[str, tuple[str, Callable[[Path], None]]] = {
    "authority.key is gone": ("authority.key", Path.unlink),
    "authority.key is a link": ("authority.key", link),
    "authority.key is empty": ("authority.key", writing(b"")),
    "authority.pem is gone": ("authority.pem", Path.unlink),
    "authority.pem is noise": ("authority.pem", writing(b"\xff")),
    "ledger.key is gone": ("ledger.key", Path.unlink),
    "ledger.key is noise": ("ledger.key", writing(b"\xff\xff")),
    "installation.json is noise": ("installation.json", writing(b"{")),
    "installation.json is another": (
        "installation.json",
        writing(b'{"trust_domain": "..", "chain": "x"}'),
    ),
    "the database is noise": ("stockade.db", writing(os.urandom(8192))),
    "the database is a link": ("stockade.db", link),
    "the lock is a link": ("lock", link),
    "the lock is a folder": ("lock", folder),
}


@pytest.mark.parametrize("which", BROKEN)
def test_a_damaged_data_directory(initialised: RunningDaemon, which: str) -> None:
    """Whatever is missing or not what it should be: code, file, fix; nothing is made anew."""
    name, damage = BROKEN[which]
    path = initialised.home.data / name
    assert path.exists()
    damage(path)
    before = sorted(initialised.home.data.iterdir())
    answer = serve(initialised)
    assert answer.returncode == 2, answer.stderr
    assert "Traceback" not in answer.stderr, answer.stderr
    assert "fix: " in answer.stderr
    assert name.partition(".")[0] in answer.stderr
    left = {path.name for path in initialised.home.data.iterdir()} - {p.name for p in before}
    assert left <= {"stockade.db-wal", "stockade.db-shm"}
