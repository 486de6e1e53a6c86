"""Promise 4 where tiers run on Docker Engine: each works, or the call is refused; never weaker."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from stockade.client import Client
from stockade.home import Home
from stockade.v1 import call_pb2
from tests.host import missing
from tests.promises.acting import (
    ALONE,
    DEADLINE,
    LEFT_SECONDS,
    add_tool,
    apply,
    kinds,
    receipts,
    run,
    until,
    working_tiers,
)
from tests.running import WITH_ENGINES, RunningDaemon, finished, output, running

EVERYTHING = ALONE + "permit (principal, action, resource);"
RISKY = "[capabilities]\nnetwork = true\nfilesystem_write = true\nexternal_apis = true\n"
ENGINE_SOCKET = Path("/var/run/docker.sock")
TIERS = {"container": "", "gvisor": RISKY}


def tiers(daemon: RunningDaemon) -> dict[str, bool]:
    with daemon.client() as client:
        return working_tiers(client)


@pytest.fixture(scope="module")
def engines() -> Iterator[RunningDaemon]:
    """A daemon on this machine's engine, if there is one."""
    with running(WITH_ENGINES) as daemon:
        with daemon.client() as client:
            apply(client, EVERYTHING)
        yield daemon


@pytest.fixture(scope="module")
def second(engines: RunningDaemon) -> Home:
    """Another device of that daemon."""
    return engines.pair_device("second", "owners")


@pytest.mark.parametrize("tier", TIERS)
def test_a_call_runs_in_the_tier_of_its_risk(engines: RunningDaemon, tier: str) -> None:
    """The call says where it ran, and its receipt what was enforced there, control by control."""
    if not tiers(engines)[tier]:
        missing(tier)
    with engines.client() as client:
        add_tool(client, f"in_{tier}", ["/bin/echo", "ran"], sensitivity="1.0", rest=TIERS[tier])
        events = run(client, f"in_{tier}")
        assert finished(events).state == call_pb2.CALL_STATE_SUCCEEDED
        assert [one.started.tier for one in events if one.HasField("started")] == [tier]
        assert output(events) == b"ran\n"
    answer = engines.cli("ledger", "tail", "--json")
    assert '"seccomp"' in answer.out


@pytest.mark.parametrize("tier", ["process", *TIERS])
def test_what_waits_serves_one_call_whoever_asks(
    engines: RunningDaemon, second: Home, tier: str
) -> None:
    """Two principals in turn, each in a sandbox that waited: neither finds what the other left."""
    if not tiers(engines)[tier]:
        missing(tier)
    script = "ls -A /tmp /dev/shm; echo x >/tmp/left; echo x >/dev/shm/left"
    sensitivity = "0.1" if tier == "process" else "1.0"
    served: set[str] = set()
    with engines.client() as owner, Client.open(second) as other:
        add_tool(
            owner, f"leaves_{tier}", ["/bin/sh", "-c", script],
            sensitivity=sensitivity, rest=TIERS.get(tier, ""),
        )  # fmt: skip

        def both() -> bool:
            for who, client in (("owner", owner), ("other", other)):
                events = run(client, f"leaves_{tier}")
                assert output(events) == b"/dev/shm:\n\n/tmp:\n"
                body = receipts(owner, events[0].call_id)[-1]["body"]
                if body["controls"]["sandbox"]["achieved"] == "started ahead, used once":
                    served.add(who)
            return len(served) == 2

        assert until(both, 2 * DEADLINE), served


@pytest.mark.parametrize(
    ("broken", "primitive"),
    [
        ('socket = "/nonexistent/docker.sock"\n', "Docker Engine"),
        ('runtime = "no-such"\ngvisor_runtime = "no-such"\n', "the runtime"),
    ],
)
def test_without_engine_or_runtime_calls_are_refused(broken: str, primitive: str) -> None:
    """Each is denied with tier, what is missing and what to do; nothing ran; the record says so."""
    if primitive == "the runtime" and not ENGINE_SOCKET.exists():
        pytest.skip("no Docker Engine here, which would have the runtime")
    with running(WITH_ENGINES + "[containers]\n" + broken) as daemon:
        assert tiers(daemon) == {"process": True, "container": False, "gvisor": False}
        with daemon.client() as client:
            apply(client, EVERYTHING)
            for tier, rest in TIERS.items():
                add_tool(client, f"in_{tier}", ["/bin/echo", "x"], sensitivity="1.0", rest=rest)
                events = run(client, f"in_{tier}")
                end = finished(events)
                assert (end.state, end.reason) == (
                    call_pb2.CALL_STATE_DENIED, "TIER_UNAVAILABLE",
                )  # fmt: skip
                assert f"{tier} tier" in end.message
                assert primitive in end.message
                assert end.fix
                assert not any(event.HasField("started") for event in events)
                assert kinds(client, events[0].call_id) == ["call.received", "call.denied"]
        assert daemon.cli("call", "in_gvisor").status == 20


def test_a_tool_with_an_image_does_not_run_in_a_process(engines: RunningDaemon) -> None:
    """Only containers have images, so the least tier is one; a missing image fails the call."""
    with engines.client() as client:
        image = f'image = "sha256:{"0" * 64}"\n'
        add_tool(client, "imaged", ["/bin/echo", "x"], rest="", before=image)
        end = finished(run(client, "imaged"))
    if tiers(engines)["container"]:
        assert (end.state, end.reason) == (call_pb2.CALL_STATE_FAILED, "IMAGE_MISSING")
    else:
        assert end.reason == "TIER_UNAVAILABLE"


@pytest.mark.skipif(os.geteuid() != 0, reason="to stop its own dockerd a test has to be root")
def test_nothing_of_a_call_is_left_in_the_engine(engines: RunningDaemon) -> None:
    """When the daemon has stopped, no container of it is left, used or waiting."""
    if not tiers(engines)["container"]:
        pytest.skip("no container tier here")
    with engines.client() as client:
        add_tool(client, "passing", ["/bin/true"], sensitivity="1.0")
        for _ in range(2):
            assert finished(run(client, "passing")).state == call_pb2.CALL_STATE_SUCCEEDED
        chain = str(client.status().ledger_chain)
    assert containers(chain)
    engines.stop()
    until(lambda: containers(chain) == [], LEFT_SECONDS)
    assert containers(chain) == []
    engines.start()


def containers(instance: str) -> list[str]:
    label = f"label=stockade.instance={instance}"
    command = ["docker", "ps", "--all", "--quiet", "--filter", label]
    if not ENGINE_SOCKET.exists():
        return []
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.split()
