"""The checkout keeps its promises to whoever builds it: stubs, versions, host packages, hooks."""

import contextlib
import importlib.metadata
import os
import pty
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tests.structure.source import CHECKOUT

PATIENCE_SECONDS = 120
DEPLOY = CHECKOUT / "deploy"


def run(
    *command: str | Path, env: dict[str, str] | None = None, cwd: Path = CHECKOUT
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command, env=env, cwd=cwd, capture_output=True, text=True, timeout=PATIENCE_SECONDS,
        check=False,
    )  # fmt: skip


def without_bubblewrap(*command: str | Path, cwd: Path = CHECKOUT) -> "Answer":
    """Runs a command as a user who may become nobody else, on a host without bubblewrap."""
    hide = ("--ro-bind", "/etc/debian_version", "/usr/bin/bwrap")
    nobody = ("--unshare-user", "--uid", "65534", "--gid", "65534")
    bare = ("/usr/bin/bwrap", "--bind", "/", "/", "--dev", "/dev", "--proc", "/proc")
    done = run(*bare, *hide, *nobody, "--", *command, cwd=cwd)
    return Answer(done.returncode, done.stdout + done.stderr)


class Answer:
    """A status and everything that was said."""

    def __init__(self, status: int, said: str) -> None:
        self.status = status
        self.said = said


def pinned() -> dict[str, Version]:
    """What constraints.txt pins."""
    lines = (CHECKOUT / "constraints.txt").read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def test_the_stubs_are_those_of_the_protos(tmp_path: Path) -> None:
    """The committed stubs are what `make proto` generates, byte for byte."""
    answer = run(sys.executable, "-I", DEPLOY / "generate_stubs.py", tmp_path)
    assert answer.returncode == 0, answer.stderr
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    committed = {
        path.name: path.read_bytes()
        for path in (CHECKOUT / "stockade" / "v1").iterdir()
        if path.is_file() and path.name != "__init__.py"
    }
    assert made == committed


def test_every_declared_dependency_is_pinned_within_its_bounds() -> None:
    """constraints.txt has a version for each dependency of pyproject.toml, and it is allowed."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    declared = [*project["project"]["dependencies"], *project["dependency-groups"]["dev"]]
    for extra in project["project"]["optional-dependencies"].values():
        declared += extra
    versions = pinned()
    for requirement in map(Requirement, declared):
        assert versions[canonicalize_name(requirement.name)] in requirement.specifier


def test_what_is_installed_for_the_product_is_pinned() -> None:
    """Whatever Stockade pulls in, at any depth, has its version in constraints.txt."""
    versions, seen, left = pinned(), set[str](), ["stockade"]
    while left:
        name = canonicalize_name(left.pop())
        if name in seen:
            continue
        seen.add(name)
        for text in importlib.metadata.distribution(name).requires or ():
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                left.append(requirement.name)
    assert seen - {"stockade"} <= set(versions)


def test_ci_runs_the_test_command_of_the_readme() -> None:
    """.ci/run ends in `make test`, and the README names it."""
    assert (CHECKOUT / ".ci" / "run").read_text().splitlines()[-1] == "exec make test"
    assert os.access(CHECKOUT / ".ci" / "run", os.X_OK)
    assert re.search(r"\bmake test\b", (CHECKOUT / "README.md").read_text())


def test_make_help_names_what_people_type() -> None:
    """Demo, test, lint, proto and bench are targets, each with a word on what it does."""
    answer = run("make", "--no-print-directory", "help")
    assert answer.returncode == 0, answer.stderr
    found = dict(line.split(None, 1) for line in answer.stdout.splitlines())
    assert {"demo", "test", "lint", "proto", "bench"} <= set(found)


def test_the_hook_runs_what_lint_runs() -> None:
    """pre-commit runs `make lint` itself, so the two cannot differ."""
    text = (CHECKOUT / ".pre-commit-config.yaml").read_text()
    assert re.findall(r"^ +entry: (.*)$", text, re.MULTILINE) == ["make --no-print-directory lint"]


def test_a_missing_package_is_named_with_the_command_to_type() -> None:
    """Without the right to install, the exact command is printed, and the status says no."""
    answer = without_bubblewrap(DEPLOY / "host-packages.sh", "run")
    assert answer.status == 1
    assert "apt-get install --yes --no-install-recommends bubblewrap" in answer.said


@pytest.mark.parametrize("target", ["demo", "test"])
def test_make_stops_at_a_missing_package(target: str, tmp_path: Path) -> None:
    """`make demo` and `make test` stop there, before anything is made, without a traceback."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(CHECKOUT / name, tmp_path)
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    answer = without_bubblewrap("make", target, cwd=tmp_path)
    assert answer.status == 2
    assert "bubblewrap" in answer.said
    assert "Traceback" not in answer.said
    assert not (tmp_path / ".venv").exists()


def test_nothing_is_asked_for_where_nothing_is_missing() -> None:
    """On a host that has everything the check is silent."""
    answer = run(DEPLOY / "host-packages.sh", "test")
    assert (answer.returncode, answer.stdout, answer.stderr) == (0, "", "")


def test_a_python_that_does_not_work_is_passed_over(tmp_path: Path) -> None:
    """A shim that only complains, first in PATH, does not hide the interpreter behind it."""
    version = f"python3.{sys.version_info.minor}"
    shim, real = tmp_path / "shims" / version, tmp_path / "bin" / version
    for path in (shim, real):
        path.parent.mkdir()
    shim.write_text("#!/bin/sh\nexit 127\n")
    shim.chmod(0o755)
    real.symlink_to(Path(sys.executable).resolve())
    answer = run(DEPLOY / "find-python.sh", env={"PATH": f"{shim.parent}:{real.parent}"})
    assert answer.stdout.strip() == str(real)


def test_the_systems_own_python_goes_before_a_newer_one(tmp_path: Path) -> None:
    """Which is the one that the system's updates reach."""
    own = Path("/usr/bin/python3")
    needs = "import sys, venv, ensurepip; raise SystemExit(sys.version_info < (3, 11))"
    if not own.exists() or run(own, "-I", "-c", needs).returncode != 0:
        pytest.skip("this system's own Python makes no environment that Stockade runs in")
    (tmp_path / "python3.14").symlink_to(Path(sys.executable).resolve())
    answer = run(DEPLOY / "find-python.sh", env={"PATH": f"{tmp_path}:/usr/bin"})
    assert answer.stdout.strip() == str(own)


def test_without_a_python_there_is_no_answer(tmp_path: Path) -> None:
    """No usable interpreter: nothing is printed, and the status says so."""
    answer = run(DEPLOY / "find-python.sh", env={"PATH": str(tmp_path)})
    assert (answer.returncode, answer.stdout) == (1, "")


SHOWN = DEPLOY / "with-progress.sh"


def test_what_takes_long_is_silent_where_no_terminal_is() -> None:
    """What it said is shown if it fails, with its status; else nothing is."""
    well = run(SHOWN, "sh", "-c", "echo much")
    assert (well.returncode, well.stdout, well.stderr) == (0, "", "")
    ill = run(SHOWN, "sh", "-c", "echo why; exit 7")
    assert (ill.returncode, ill.stdout, ill.stderr) == (7, "", "why\n")


def test_what_takes_long_shows_a_terminal_where_it_is(tmp_path: Path) -> None:
    """The newest line, on one line of the terminal, which is cleared in the end."""
    master, slave = pty.openpty()
    go_on = tmp_path / "seen"
    waits = f"echo first; echo second; until [ -e {go_on} ]; do sleep 0.1; done"
    try:
        process = subprocess.Popen((SHOWN, "sh", "-c", waits), stdout=slave, stderr=slave)
        os.close(slave)
        said = b""
        while b"  second " not in said:
            said += os.read(master, 4096)
        go_on.touch()
        with contextlib.suppress(OSError):  # its last holder has closed it
            while more := os.read(master, 4096):
                said += more
        assert process.wait(PATIENCE_SECONDS) == 0
    finally:
        os.close(master)
    assert b"\n" not in said
    assert said.endswith(b" \r")
