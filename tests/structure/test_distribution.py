"""What is installed: the wheel's names and contents, and that nobody's `./policy` becomes ours."""

import importlib.metadata
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.structure.source import CHECKOUT, PACKAGES

PATIENCE_SECONDS = 120
SCRIPTS = {"stockade": "stockade.cli.main:main", "stockaded": "daemon.main:main"}


def run(*command: str | Path, **options: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        command, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False, **options
    )


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built as a release is."""
    folder = tmp_path_factory.mktemp("wheel")
    build = ("-m", "build", "--wheel", "--no-isolation", "--outdir", folder, CHECKOUT)
    answer = run(sys.executable, "-I", *build)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of the wheel in an environment of its own.

    What it depends on is borrowed from this one; this one's own path to the checkout is not.
    """
    home = tmp_path_factory.mktemp("environment")
    for command in (
        ("-m", "venv", "--without-pip", home),
        (
            *("-m", "pip", "--python", home / "bin" / "python", "install"),
            *("--quiet", "--no-index", "--no-deps", "--disable-pip-version-check", wheel),
        ),
    ):
        answer = run(sys.executable, "-I", *command)
        assert answer.returncode == 0, answer.stdout + answer.stderr
    (packages,) = home.glob("lib/python*/site-packages")
    here = importlib.metadata.distribution("pydantic").locate_file("")
    (packages / "borrowed.pth").write_text(f"{here}\n")
    return home / "bin"


@pytest.fixture
def decoy(tmp_path: Path) -> Path:
    """A directory with packages of our names, each of which leaves a trace when it is imported."""
    for name in PACKAGES:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").write_text(
            f"import pathlib\npathlib.Path({str(tmp_path / 'imported')!r}).touch()\n"
        )
    return tmp_path


def test_the_wheel_has_these_names_and_no_others(wheel: Path) -> None:
    """The wheel's top-level names are the seven packages, and their metadata."""
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.partition("/")[0] for name in archive.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == set(PACKAGES)
    assert len(tops) == len(PACKAGES) + 1


def test_the_wheel_has_every_file_of_the_packages(wheel: Path) -> None:
    """Schema, policies, manifests, migrations and type markers are in the wheel, as here."""
    here = {
        path.relative_to(CHECKOUT).as_posix()
        for package in PACKAGES
        for path in (CHECKOUT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        there = {name for name in archive.namelist() if ".dist-info/" not in name}
        assert all(archive.read(name) == (CHECKOUT / name).read_bytes() for name in there)
    assert there == here
    for package in PACKAGES:
        assert f"{package}/py.typed" in there
    for needed in (
        "policy/schema.cedarschema",
        "policy/default/calls.cedar",
        "daemon/tools/builtin/run_python/manifest.toml",
        "daemon/store/migrations/versions/r0001_initial.py",
        "stockade/v1/call_pb2.pyi",
    ):
        assert needed in there


def test_the_wheel_carries_its_licence_and_two_commands(wheel: Path) -> None:
    """The licence is in the wheel, and its console scripts are stockade and stockaded."""
    with zipfile.ZipFile(wheel) as archive:
        (entry_points,) = (n for n in archive.namelist() if n.endswith("/entry_points.txt"))
        text = archive.read(entry_points).decode()
        assert any(n.endswith("/licenses/LICENSE") for n in archive.namelist())
    lines = [line for line in text.splitlines() if line]
    assert lines == ["[console_scripts]", *(f"{k} = {v}" for k, v in SCRIPTS.items())]


def test_no_other_distribution_owns_our_names() -> None:
    """No dependency, direct or not, installs a package of one of our names."""
    owners = importlib.metadata.packages_distributions()
    foreign = {name: set(owners.get(name, ())) - {"stockade"} for name in PACKAGES}
    assert not {name: who for name, who in foreign.items() if who}


def test_the_installed_programs_run_beside_a_decoy(installed: Path, decoy: Path) -> None:
    """A `./policy` in the working directory is not imported, by neither program."""
    environment = {**os.environ, "STOCKADE_HOME": str(decoy / "home")}
    for program in SCRIPTS:
        answer = run(installed / program, "--help", cwd=decoy, env=environment)
        assert answer.returncode == 0, answer.stderr
    # As far as a home that is not there: all packages have been looked up by then.
    answer = run(installed / "stockaded", "serve", cwd=decoy, env=environment)
    assert "NOT_INITIALISED" in answer.stderr
    assert not (decoy / "imported").exists()


@pytest.mark.parametrize("name", [name for name in PACKAGES if name not in ("daemon", "stockade")])
def test_a_decoy_on_the_python_path_stops_the_daemon(
    installed: Path, decoy: Path, name: str
) -> None:
    """A package of our name that Python would find first is refused, and not run."""
    (decoy / "path").mkdir()
    (decoy / name).rename(decoy / "path" / name)
    environment = {
        **os.environ,
        "STOCKADE_HOME": str(decoy / "home"),
        "PYTHONPATH": str(decoy / "path"),
    }
    answer = run(installed / "stockaded", "serve", cwd=decoy, env=environment)
    assert answer.returncode == 2
    assert "PACKAGES_MIXED" in answer.stderr
    assert not (decoy / "imported").exists()
