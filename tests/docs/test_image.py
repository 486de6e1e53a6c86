"""docs/install.md, in a container: built with no network, and working as it is typed there."""

import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator

import pytest

from tests.docs.pages import ROOT
from tests.docs.test_install import IMAGE
from tests.promises.acting import until
from tests.service.booted import unavailable

SECONDS = 900
BUILD, RUN = IMAGE
START, _, USE = RUN.partition("\ndocker exec")
in_docker = pytest.mark.slow
# Of this test's own, so that nothing of a person's is touched.
TAG = f"stockade-test-image:{os.getpid()}"
NAME = f"stockade-test-{os.getpid()}"


def shell(script: str) -> "subprocess.CompletedProcess[str]":
    """Types it, with names of this test's own in place of the page's."""
    own = script.replace("stockade:latest", TAG).replace("--name stockade ", f"--name {NAME} ")
    own = own.replace("--volume stockade:", f"--volume {NAME}:")
    own = own.replace("docker exec stockade ", f"docker exec {NAME} ")
    environment = {**os.environ, "TAG": TAG}
    return subprocess.run(
        ["/bin/sh", "-ec", own],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def docker(*words: str) -> str:
    done = subprocess.run(
        ["docker", *words], capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def inside(*words: str) -> "subprocess.CompletedProcess[str]":
    command = ["docker", "exec", NAME, "stockade", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)


@pytest.mark.skipif(shutil.which("dpkg-query") is None, reason="this machine is not Debian")
def test_its_root_is_what_packages_brought_and_nothing_else() -> None:
    """No account or key of this machine, no file with rights of its own; and what runs it."""
    made = subprocess.run(
        ["/usr/bin/python3", "-I", "deploy/image/root.py"],
        cwd=ROOT,
        capture_output=True,
        timeout=SECONDS,
        check=True,
    )
    with tarfile.open(fileobj=io.BytesIO(made.stdout)) as tar:
        entries = {one.name: one for one in tar}
        passwd = tar.extractfile("etc/passwd")
        assert passwd is not None
        users = [line.split(b":")[0] for line in passwd.read().splitlines()]
    assert users == [b"root", b"stockade", b"nobody"]
    allowed = {
        *("alternatives", "group", "ld.so.conf", "ld.so.conf.d", "nsswitch.conf", "passwd"),
        *("protocols", "services", "ssl"),
    }
    assert {name.split("/")[1] for name in entries if name.startswith("etc/")} <= allowed
    assert not [name for name, one in entries.items() if one.mode & 0o6000]
    assert not [name for name in entries if name.startswith(("root/", "home/", "etc/ssl/private"))]
    assert {one.uid for name, one in entries.items() if name != "var/lib/stockade"} == {0}
    assert {"usr/bin/python3", "usr/bin/bwrap", "usr/bin/dash", "usr/bin/env"} <= entries.keys()


@pytest.fixture(scope="module")
def container() -> Iterator[str]:
    """The image, built; and a container of it that serves."""
    if why := unavailable():
        pytest.skip(why)
    try:
        built = shell(BUILD)
        assert built.returncode == 0, built.stderr
        started = shell(START)
        assert started.returncode == 0, started.stderr
        assert until(lambda: inside("status", "--check").returncode == 0, 120)
        yield NAME
    finally:
        for words in (("rm", "--force", "--volumes", NAME), ("volume", "rm", NAME), ("rmi", TAG)):
            subprocess.run(["docker", *words], capture_output=True, timeout=400, check=False)


@in_docker
def test_it_serves_and_runs_calls_in_the_process_tier(container: str) -> None:
    """A call runs, confined; it was started with the page's own options."""
    said = shell(f"docker exec{USE}")
    assert said.returncode == 0, said.stderr
    assert "run_shell" in said.stdout
    tiers = {one["name"]: one for one in json.loads(inside("status", "--json").stdout)["tiers"]}
    assert tiers["process"].get("works"), docker("logs", container)
    policy = '@id("alone") permit (principal, action == Action::"call_unattended", resource);'
    docker("exec", container, "sh", "-c", f"echo '{policy}' > $STOCKADE_HOME/policies/alone.cedar")
    assert inside("policy", "apply").returncode == 0
    ran = inside("call", "run_shell", "--arg", "command=id -u; ls /")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[0] != "0"
    assert "opt" not in ran.stdout.split()


@in_docker
def test_it_is_not_root_and_says_that_it_is_well(container: str) -> None:
    """By number in the image, and in fact; its health is the daemon's."""
    assert docker("inspect", "--format", "{{.Config.User}}", TAG).strip() == "65532:65532"
    status = docker("exec", container, "cat", "/proc/1/status")
    assert [line.split()[1:5] for line in status.splitlines() if line.startswith("Uid:")] == [
        ["65532"] * 4
    ]
    assert [line.split()[1] for line in status.splitlines() if line.startswith("CapEff:")] == [
        "0" * 16
    ]
    health = docker("inspect", "--format", "{{json .Config.Healthcheck.Test}}", TAG)
    assert json.loads(health) == ["CMD", "stockade", "status", "--check"]


@in_docker
def test_nothing_of_this_machine_is_in_it(container: str) -> None:
    """No account, key or configuration of the host's: what its packages brought, and Stockade."""
    found = docker("exec", container, "sh", "-c", "ls -A /etc /root /home")
    for word in ("shadow", "ssh", "docker", "apt", "machine-id", "environment"):
        assert word not in found.split()
    users = docker("exec", container, "cut", "-d:", "-f1", "/etc/passwd").split()
    assert users == ["root", "stockade", "nobody"]


@in_docker
def test_it_ends_when_it_is_told_to_and_goes_on_where_it_was(container: str) -> None:
    """SIGTERM ends it in order; the same volume is the same daemon, with the same ledger."""
    before = json.loads(inside("status", "--json").stdout)
    docker("stop", "--time", "30", container)
    assert docker("inspect", "--format", "{{.State.ExitCode}}", container).strip() == "0"
    docker("start", container)
    assert until(lambda: inside("status", "--check").returncode == 0, 120)
    after = json.loads(inside("status", "--json").stdout)
    assert after["ledger_chain"] == before["ledger_chain"]
    assert int(after["ledger_sequence"]) > int(before["ledger_sequence"])
