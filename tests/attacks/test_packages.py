"""Foreign packages of our names: never imported, wherever they lie."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.attacks.starting import SECONDS, refused, serve
from tests.running import RunningDaemon

EVIL = """
from pathlib import Path
Path({mark!r}).touch()
raise SystemExit("a foreign package was run")
"""


def plant(folder: Path, mark: Path, *names: str) -> None:
    """Packages of our names that leave a mark when they are imported."""
    for name in names:
        (folder / name).mkdir(parents=True)
        (folder / name / "__init__.py").write_text(EVIL.format(mark=str(mark)))


def test_packages_in_the_working_directory_are_not_ours(
    initialised: RunningDaemon, tmp_path: Path
) -> None:
    """A `./policy` where the daemon is started never becomes the one that decides."""
    mark = tmp_path / "mark"
    folder = tmp_path / "cwd"
    plant(folder, mark, "policy", "daemon", "ledger", "sandbox", "vault", "identity", "stockade")
    initialised.home.config_file.write_text("[server]\nlissten = 1\n")
    refused(serve(initialised, cwd=folder), "CONFIG_INVALID")  # ours answered
    assert not mark.exists()


@pytest.mark.parametrize("name", ["policy", "ledger", "sandbox", "vault", "identity"])
def test_packages_on_the_path_are_not_mixed(
    initialised: RunningDaemon, tmp_path: Path, name: str
) -> None:
    """A foreign package that PYTHONPATH puts before ours stops the start before it is imported."""
    mark, folder = tmp_path / "mark", tmp_path / "path"
    plant(folder, mark, name)
    initialised.environment = {"PYTHONPATH": str(folder)}
    assert str(folder) in refused(serve(initialised), "PACKAGES_MIXED")
    assert not mark.exists()


def test_the_console_script_is_the_way_in(initialised: RunningDaemon, tmp_path: Path) -> None:
    """Run as a module from a folder of foreign packages, nothing foreign decides either."""
    mark, folder = tmp_path / "mark", tmp_path / "cwd"
    plant(folder, mark, "policy")
    answer = subprocess.run(
        [sys.executable, "-m", "daemon.main", "serve"],
        env=initialised.environ(),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    refused(answer, "PACKAGES_MIXED")
    assert not mark.exists()
