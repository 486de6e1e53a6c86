"""What the tests of the store share.

`engines` is the one place to add another database: every store's suite runs on what it makes.
"""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine

from daemon.store.engine import open_engine

EngineFactory = Callable[[], Engine]
"""Opens the test's database; each call is one more daemon on the same database."""


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "stockade.db"


@pytest.fixture(params=["sqlite"])
def engines(request: pytest.FixtureRequest, path: Path) -> Iterator[EngineFactory]:
    assert request.param == "sqlite"
    opened: list[Engine] = []

    def make() -> Engine:
        opened.append(open_engine(path))
        return opened[-1]

    yield make
    for engine in opened:
        engine.dispose()


@pytest.fixture
def engine(engines: EngineFactory) -> Engine:
    return engines()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    try:
        made = subprocess.run(mount, check=False, capture_output=True, text=True, timeout=10)
    except OSError as error:
        pytest.skip(f"cannot mount: {error}")
    if made.returncode:
        pytest.skip(f"mounting a file system needs privileges: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True, timeout=10)
