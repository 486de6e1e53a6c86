"""deploy/engines.py and deploy/engine-packages.sh: what setup does for Docker and gVisor."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.structure.source import CHECKOUT

DEPLOY = CHECKOUT / "deploy"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may change the engine")


@pytest.fixture(scope="module")
def engines() -> ModuleType:
    spec = importlib.util.spec_from_file_location("engines", DEPLOY / "engines.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@needs_root
def test_the_operators_settings_of_the_engine_are_kept(
    engines: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Registering runsc adds one runtime and changes nothing else; a second time, nothing."""
    monkeypatch.setattr(engines.shutil, "which", lambda name: f"/usr/bin/{name}")
    settings = tmp_path / "daemon.json"
    before = {"data-root": "/srv/docker", "runtimes": {"crun": {"path": "/usr/bin/crun"}}}
    settings.write_text(json.dumps(before))
    assert engines.register(settings)
    once = settings.read_bytes()
    after = json.loads(once)
    assert after["runtimes"].pop("runsc")["path"] == "/usr/bin/runsc"
    assert after == before
    assert engines.register(settings)
    assert settings.read_bytes() == once


@needs_root
def test_settings_that_cannot_be_read_are_left_alone(
    engines: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A daemon.json that is not JSON is not replaced by one that is."""
    monkeypatch.setattr(engines.shutil, "which", lambda name: f"/usr/bin/{name}")
    settings = tmp_path / "daemon.json"
    settings.write_text("{ not json")
    assert not engines.register(settings)
    assert settings.read_text() == "{ not json"


def test_an_engine_that_runs_is_left_as_it_is() -> None:
    """Run again where the engine runs, setup says nothing and starts nothing."""
    running = pid()
    if not running:
        pytest.skip("no dockerd runs on this machine")
    done = subprocess.run(
        [sys.executable, "-I", DEPLOY / "engines.py"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")
    assert pid() == running


def test_engines_can_be_declined() -> None:
    """STOCKADE_ENGINES=off: no package is installed, no engine looked for."""
    environment = {**os.environ, "STOCKADE_ENGINES": "off", "PATH": "/nonexistent"}
    commands: list[list[str | Path]] = [
        ["/bin/sh", DEPLOY / "engine-packages.sh"],
        [sys.executable, "engines.py"],
    ]
    for command in commands:
        done = subprocess.run(
            command, env=environment, cwd=DEPLOY, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_runsc_is_pinned_and_no_mirror_is_named() -> None:
    """The gVisor runtime comes at one version, from wherever this machine's own packages come."""
    text = (DEPLOY / "engine-packages.sh").read_text()
    assert re.search(r"^RUNSC_VERSION=0\.0~20\d{6}\.", text, re.MULTILINE)
    assert "://" not in text


def pid() -> str:
    """Of the engine that runs; it starts helpers of its own name, for a moment."""
    try:
        return Path("/var/run/docker.pid").read_text().strip()
    except OSError:
        return ""
