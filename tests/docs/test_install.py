"""docs/install.md: each way to install, typed as it stands, gives a daemon that works."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, fenced, read
from tests.running import CONFIG, make_directory, remove_directory

PATIENCE_SECONDS = 600
# What a test does to where the page's commands write.
MOVED = "/opt/stockade"
BLOCKS = fenced(read("docs/install.md"), "sh")
WAYS = [block for block in BLOCKS if "install " in block]
# Typed by tests/docs/test_image.py.
IMAGE = [block for block in BLOCKS if block.startswith(("make image", "docker "))]


def shell(script: str, checkout: Path, place: Path) -> "subprocess.CompletedProcess[str]":
    """Types it in a checkout, with nothing of this environment but what installs."""
    kept = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "HOME")}
    environment = {
        **kept,
        "HOME": str(place),
        "PATH": f"{place}/.local/bin:{place}/installers/bin:{os.environ['PATH']}",
        "PIPX_DEFAULT_PYTHON": sys.executable,
        "UV_PYTHON": sys.executable,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
        "STOCKADE_HOME": str(place / "home"),
    }
    return subprocess.run(
        ["/bin/sh", "-ec", script.replace(MOVED, f"{place}/opt")],
        cwd=checkout,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
        check=False,
    )


@pytest.fixture(scope="module")
def checkout() -> Iterator[Path]:
    """The files of the repository, and nothing else."""
    folder = make_directory()
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    yield folder
    remove_directory(folder)


@pytest.fixture
def place() -> Iterator[Path]:
    """A user's home, with pipx and uv."""
    folder = make_directory()
    installers = folder / "installers"
    subprocess.run([sys.executable, "-m", "venv", installers], check=True, timeout=400)
    pip = (installers / "bin" / "pip", "install", "--quiet", "pipx", "uv")
    subprocess.run(pip, check=True, timeout=PATIENCE_SECONDS)
    yield folder
    remove_directory(folder)


def test_every_block_is_typed() -> None:
    """No block of the page is left out below."""
    others = [block for block in BLOCKS if block not in (*WAYS, *IMAGE)]
    assert others == ["deploy/host-packages.sh run\n"]
    assert [block.split()[0] for block in WAYS] == ["pipx", "uv", "python3"]


def test_the_host_has_what_it_needs(checkout: Path, place: Path) -> None:
    """On this machine it was run already, and says nothing."""
    done = shell("deploy/host-packages.sh run", checkout, place)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


@pytest.mark.parametrize("block", WAYS, ids=["pipx", "uv", "pip"])
def test_installed_it_starts_and_answers(block: str, checkout: Path, place: Path) -> None:
    """The daemon that was installed serves, and the command line beside it is its first device."""
    done = shell(block, checkout, place)
    assert done.returncode == 0, done.stderr
    path = f'export PATH="{place}/opt/bin:$PATH"\n'
    use = "stockade up --detach; stockade tools list"
    (place / "home").mkdir()
    config = place / "home" / "config.toml"
    config.write_text(CONFIG)
    try:
        used = shell(f"{path}type stockade; {use}", checkout, place)
    finally:
        down = shell(f"{path}stockade down", checkout, place)
    assert down.returncode == 0, down.stderr
    assert used.returncode == 0, used.stderr
    assert f"stockade is {place}/" in used.stdout
    assert "read_file" in used.stdout
