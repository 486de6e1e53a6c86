"""A probe runs and observes; what is missing is named with its fix."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sandbox import End, Outcome, OutputDigest, ProcessSandbox, ProcessSettings, Sandbox, Usage
from sandbox.diagnosis import diagnose
from sandbox.probe import judge
from sandbox.spawn import without_root
from tests.sandbox.conftest import Runner

pytestmark = pytest.mark.anyio


async def test_probe_works(runner: Runner) -> None:
    """On a host where the tests run, every observation is a denial that was seen."""
    report = await runner.sandbox.probe()
    assert report.works, report.missing
    assert report.missing == ()
    observed = {name: c for name, c in report.controls.items() if name.startswith("observed.")}
    assert len(observed) >= 20
    assert all(control.achieved for control in observed.values())


@pytest.fixture
def seen_outside() -> dict[str, str]:
    """What the observer sees on the bare host, as a user without privileges."""
    script = Path(__file__).parents[2] / "sandbox" / "observer.py"
    drop = without_root(ProcessSettings("abcd"))
    command = [*drop, "/usr/bin/python3", "-I", "-S", "-"]
    done = subprocess.run(command, input=script.read_bytes(), capture_output=True, check=True)
    seen = json.loads(done.stdout)
    assert isinstance(seen, dict)
    return seen


def test_the_probe_can_fail(seen_outside: dict[str, str]) -> None:
    """The same observer outside a sandbox sees the opposite: the probe does not always say yes."""
    missing = judge(seen_outside, ProcessSettings("abcd"))
    words = {each.primitive for each in missing}
    assert {"seccomp filter loaded", "own host name", "ptrace refused"} <= words
    assert all(each.reason and each.fix for each in missing)


def test_the_probe_changes_nothing(seen_outside: dict[str, str]) -> None:
    """Where nothing refuses its attempts, the kernel turns them down for their arguments."""
    assert seen_outside["mount"] in ("EPERM", "ENOENT")
    assert seen_outside["unshare"] == "EINVAL"
    assert seen_outside["ptrace"] == "ESRCH"
    for place in ("/probe", "/usr/probe", "/tmp/probe"):
        assert not Path(place).exists()


def test_an_observation_that_is_missing_is_no_proof() -> None:
    """No answer is never taken for a denial."""
    assert len(judge({"ran": "yes"}, ProcessSettings("abcd"))) >= 20


def test_observer_names_are_judged(seen_outside: dict[str, str]) -> None:
    """Every observation is judged: none is collected for show."""
    judged = {each.reason.split()[3].rstrip(":") for each in judge({}, ProcessSettings("abcd"))}
    assert judged == set(seen_outside) - {"ran"}


async def test_engine_missing() -> None:
    """Without bubblewrap the report names it and the package."""
    sandbox: Sandbox = ProcessSandbox(ProcessSettings("abcd", bubblewrap="/nonexistent/bwrap"))
    report = await sandbox.probe()
    assert not report.works
    assert [(m.primitive, m.fix) for m in report.missing] == [
        ("bubblewrap", "apt-get install bubblewrap")
    ]
    assert sandbox.name == "process"


async def test_engine_that_isolates_nothing(place: Path) -> None:
    """A program called bwrap that merely exists, or merely runs the tool, is not believed."""
    fake = place / "bwrap"
    fake.write_text('#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n')
    fake.chmod(0o755)
    report = await ProcessSandbox(ProcessSettings("abcd", bubblewrap=str(fake))).probe()
    assert not report.works
    assert report.missing


_FAILED = Outcome(
    end=End.ENGINE_FAILURE,
    exit_code=None,
    signal=None,
    limit=None,
    usage=Usage(0, None, None),
    controls={},
    stdout_digest=OutputDigest(""),
    stderr_digest=OutputDigest(""),
    stdout_bytes=0,
    stderr_bytes=0,
    detail="bwrap: No permissions to create a new namespace",
)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kernel/unprivileged_userns_clone", "0"),
        ("kernel/apparmor_restrict_unprivileged_userns", "1"),
        ("user/max_user_namespaces", "0"),
    ],
)
def test_user_namespaces_off(tmp_path: Path, name: str, value: str) -> None:
    """Each kernel setting that forbids user namespaces is named, with what to change."""
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_text(f"{value}\n")
    (missing,) = diagnose(_FAILED, tmp_path)
    assert missing.primitive == "user namespaces"
    assert name in missing.reason
    assert missing.fix


def test_other_failures(tmp_path: Path) -> None:
    """Any other failure is told in the engine's own words."""
    (missing,) = diagnose(_FAILED, tmp_path)
    assert "No permissions" in missing.reason


_USER_SCRIPT = """
import anyio
from sandbox import ProcessSandbox, ProcessSettings
from tests.sandbox.conftest import Collected, shell
async def main():
    sandbox = ProcessSandbox(ProcessSettings("ordinaryuser"))
    report = await sandbox.probe()
    assert report.works, report.missing
    sink = Collected()
    spec = shell("id -u; cat /run/key", secret_files={"/run/key": b"k"})
    outcome = await sandbox.run(spec, sink)
    print(sink.text.split(), outcome.exit_code)
anyio.run(main)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="already an ordinary user")
def test_as_an_ordinary_user() -> None:
    """The tier works for a user who is not root and owns no cgroup."""
    root = Path(__file__).parents[2]
    python = Path("/usr/bin/python3")
    site = next(Path(path) for path in sys.path if path.endswith("site-packages"))
    path = f"{root}:{site}"
    command = ["/usr/sbin/chroot", "--userspec=+65534:+65534", "--groups=", "/", str(python)]
    env = {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        subprocess.run([*command, "-c", "import anyio, pytest, pyseccomp"], env=env, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no Python and libraries that an ordinary user can reach")
    done = subprocess.run(
        [*command, "-c", _USER_SCRIPT], env=env, capture_output=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    assert done.stdout.decode().strip() == "['1000', 'k'] 0"
