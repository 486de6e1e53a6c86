"""docs/install.md, in a container: built with no network, and working as it is typed there."""

import json
import os
import subprocess
from collections.abc import Iterator

import pytest

from tests.docs.pages import ROOT
from tests.docs.test_install import IMAGE
from tests.promises.acting import until
from tests.service.booted import unavailable

SECONDS = 900
BUILD, RUN = IMAGE
START, _, USE = RUN.partition("\ndocker exec")
# Of this test's own, so that nothing of a person's is touched.
TAG = f"stockade-test-image:{os.getpid()}"
NAME = f"stockade-test-{os.getpid()}"

pytestmark = [
    pytest.mark.skipif(bool(unavailable()), reason=unavailable()),
    pytest.mark.skipif(os.geteuid() != 0, reason="needs Docker Engine, and what root reads of it"),
]


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
        ["docker", *words], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def inside(*words: str) -> "subprocess.CompletedProcess[str]":
    command = ["docker", "exec", NAME, "stockade", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def container() -> Iterator[str]:
    """The image, built; and a container of it that serves."""
    try:
        built = shell(BUILD)
        assert built.returncode == 0, built.stderr
        started = shell(START)
        assert started.returncode == 0, started.stderr
        assert until(lambda: inside("status", "--check").returncode == 0, 120)
        yield NAME
    finally:
        for words in (("rm", "--force", "--volumes", NAME), ("volume", "rm", NAME), ("rmi", TAG)):
            subprocess.run(["docker", *words], capture_output=True, timeout=120, check=False)


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
    ran = inside("call", "run_shell", "--arg", "command=id -u; ls /opt /var/lib")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.splitlines()[0] != "0"
    assert "stockade" not in ran.stdout


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


def test_nothing_of_this_machine_is_in_it(container: str) -> None:
    """No account, key or configuration of the host's: what its packages brought, and Stockade."""
    found = docker("exec", container, "sh", "-c", "ls /etc /root /home /usr/local/bin 2>/dev/null")
    for word in ("shadow", "ssh", "docker", "apt", "machine-id", "environment"):
        assert word not in found.split()
    users = docker("exec", container, "cut", "-d:", "-f1", "/etc/passwd").split()
    assert users == ["root", "stockade", "nobody"]


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
