"""The service of the system beside a Docker Engine of that machine: calls in every tier.

The engine is inside the booted machine, a service like any other there.
"""

import json
from collections.abc import Iterator

import pytest

from tests.promises.acting import until
from tests.service.booted import Machine, booted, needs_machine

pytestmark = needs_machine

SECONDS = 120
PROGRAMS = ("/usr/sbin/dockerd", "/usr/bin/runsc")
RUNTIMES = {
    "runsc": {
        "path": "/usr/bin/runsc",
        "runtimeArgs": [
            *("--platform=systrap", "--host-uds=open", "--network=none", "--oci-seccomp"),
        ],
    }
}
SETTINGS = {"runtimes": RUNTIMES, "bridge": "none", "iptables": False, "ip6tables": False}
UNIT = """\
[Service]
ExecStartPre=/bin/sh -c 'mountpoint -q /var/lib/docker || mount -t tmpfs tmpfs /var/lib/docker'
ExecStart=/usr/sbin/dockerd --host=unix:///run/docker.sock --group=docker
Delegate=yes
"""
# Which tier a call has is in its text.
POLICY = """
@id("alone") permit (principal, action == Action::"call_unattended", resource);
@id("no-process") forbid (principal, action == Action::"run_in_process", resource)
when { context.arguments has run_python && context.arguments.run_python.code like "*#*" };
@id("no-container") forbid (principal, action == Action::"run_in_container", resource)
when { context.arguments has run_python && context.arguments.run_python.code like "*#gvisor*" };
"""


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """A machine with an engine and the service, which may use it."""
    with booted() as made:
        if any(made.run("test", "-x", one).status for one in PROGRAMS):
            pytest.skip("docker.io and runsc are not installed here")
        made.write("/etc/docker/daemon.json", json.dumps(SETTINGS))
        made.write("/etc/systemd/system/docker.service", UNIT)
        made.ok("sh", "-c", "mkdir -p /var/lib/docker && ln -sfn /run /var/run")
        made.ok("systemctl", "daemon-reload")
        made.ok("systemctl", "start", "docker")
        assert until(lambda: made.run("docker", "info").status == 0, SECONDS), made.journal(
            "docker"
        )
        installed = made.stockade("service", "install", "--containers")
        assert installed.status == 0, installed.err + made.journal()
        made.write("/etc/stockade/policies/alone.cedar", POLICY)
        assert made.stockade("policy", "apply").status == 0
        assert until(lambda: working(made) == {"process", "container", "gvisor"}, SECONDS), (
            made.stockade("doctor").out + made.journal("docker")
        )
        yield made


def working(machine: Machine) -> set[str]:
    status = json.loads(machine.stockade("status", "--json").out)
    return {one["name"] for one in status["tiers"] if one.get("works")}


def containers(machine: Machine) -> set[str]:
    return set(machine.ok("docker", "ps", "--all", "--quiet").split())


def begin(machine: Machine, code: str) -> str:
    """Begins a detached call; its id once it runs."""
    said = machine.stockade("call", "run_python", "--arg", f"code={code}", "--detach", "--json")
    assert said.status == 0, said.err + machine.journal()
    events = [json.loads(line) for line in said.out.splitlines()]
    assert events[-1]["event"] == "started", events
    return str(events[0]["call_id"])


def state(machine: Machine, call_id: str) -> str:
    calls = [
        json.loads(one) for one in machine.stockade("calls", "list", "--json").out.splitlines()
    ]
    return next((str(one["state"]) for one in calls if one["call_id"] == call_id), "")


@pytest.mark.parametrize(("tier", "mark"), [("container", " #container"), ("gvisor", " #gvisor")])
def test_a_call_runs_in_each_tier_of_the_engine(machine: Machine, tier: str, mark: str) -> None:
    """By the unit's own user, which may ask the engine and nothing else that is root's."""
    said = machine.stockade("call", "run_python", "--arg", f"code=print(6 * 7){mark}", "--json")
    assert said.status == 0, said.err + machine.journal()
    events = [json.loads(line) for line in said.out.splitlines()]
    assert [one["tier"] for one in events if one["event"] == "started"] == [tier]
    assert events[-1]["event"] == "finished"
    assert machine.property("User") == "stockade"


def test_killed_it_leaves_no_container_of_its_calls(machine: Machine) -> None:
    """It is started again; what ran is recorded as interrupted, its containers are gone."""
    ids = [
        begin(machine, f"import time; time.sleep(60) {mark}") for mark in ("#container", "#gvisor")
    ]
    before = containers(machine)
    assert len(before) >= 2
    machine.ok("systemctl", "kill", "--signal=KILL", "stockaded")
    assert until(lambda: machine.stockade("status", "--check").status == 0, SECONDS)
    assert until(lambda: not before & containers(machine), SECONDS)
    assert [state(machine, one) for one in ids] == ["interrupted"] * 2


def test_stopped_it_leaves_nothing_in_the_engine(machine: Machine) -> None:
    """Calls that would not end are ended; no container and no volume is left."""
    assert until(lambda: working(machine) == {"process", "container", "gvisor"}, SECONDS)
    begin(machine, "import time; time.sleep(300) #container")
    machine.ok("systemctl", "stop", "stockaded")
    assert until(lambda: not containers(machine), SECONDS)
    assert machine.ok("docker", "volume", "ls", "--quiet").split() == []
