"""Docker Engine dies, stops or fills up under calls: each has one honest end, and nothing stays."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from stockade.client import Client, new_call_id
from stockade.v1 import call_pb2
from tests.attacks.engine_apart import EngineApart, engine_apart
from tests.daemon.store.test_faults import fill
from tests.promises.acting import (
    ALONE,
    DEADLINE,
    LEFT_SECONDS,
    SOON,
    Events,
    add_tool,
    apply,
    kinds,
    receipts,
    run,
    sleepers,
    until,
    working_tiers,
)
from tests.running import RunningDaemon, finished, output, running

EVERYTHING = ALONE + "permit (principal, action, resource);"
RISKY = "[capabilities]\nnetwork = true\nfilesystem_write = true\nexternal_apis = true\n"
TIERS = {"container": "", "gvisor": RISKY}


# For the engine alone; version 2 of control groups has no parts that could be taken away.
HIDE = "umount -l /sys/fs/cgroup/memory /sys/fs/cgroup/pids"
UNBOUND = ("unshare", "-m", "--propagation", "private", "sh", "-c", f'{HIDE}; exec "$@"', "sh")


@pytest.fixture(scope="module")
def unbound() -> Iterator[EngineApart]:
    """One engine for the tests of this module: at first one without control groups."""
    with engine_apart(*UNBOUND) as made:
        yield made


@pytest.fixture(scope="module")
def daemon(unbound: EngineApart) -> Iterator[RunningDaemon]:
    """A daemon on that engine."""
    with running(unbound.config) as made:
        with made.client() as client:
            apply(client, EVERYTHING)
            working_tiers(client)
        yield made


@pytest.fixture(scope="module")
def engine(unbound: EngineApart, daemon: RunningDaemon) -> EngineApart:
    """The engine, with all it needs; and the daemon has seen that."""
    unbound.stop()
    unbound.start()
    with daemon.client() as client:
        assert until(lambda: all(works(client).values()), 2 * DEADLINE)
    return unbound


def works(client: Client) -> dict[str, bool]:
    return {tier.name: tier.works for tier in client.status().tiers}


def begun(client: Client, tool: str, call_id: str) -> Events:
    events = client.call(tool, {}, call_id=call_id)
    for event in events:
        assert not event.HasField("finished"), event
        if event.HasField("output"):
            return events
    raise AssertionError("it did not run")


@pytest.mark.skipif(
    not Path("/sys/fs/cgroup/memory").exists(), reason="control groups are of version 2 here"
)
@pytest.mark.usefixtures("unbound")
def test_an_engine_without_control_groups(daemon: RunningDaemon) -> None:
    """It would bound neither memory nor processes: both tiers are refused, by what is missing."""
    with daemon.client() as client:
        for tier, rest in TIERS.items():
            add_tool(client, f"boxed_{tier}", ["/bin/echo", "x"], sensitivity="1.0", rest=rest)
            events = run(client, f"boxed_{tier}")
            end = finished(events)
            assert (end.state, end.reason) == (call_pb2.CALL_STATE_DENIED, "TIER_UNAVAILABLE")
            assert f"{tier} tier: control groups" in end.message
            assert "bound memory and processes" in end.message
            assert "restart dockerd" in end.fix
            assert not any(event.HasField("started") for event in events)
            assert kinds(client, events[0].call_id) == ["call.received", "call.denied"]
        assert works(client) == {"process": True, "container": False, "gvisor": False}


@pytest.mark.parametrize(
    "how",
    [
        pytest.param(signal.SIGKILL, id="killed"),
        pytest.param(signal.SIGTERM, id="stopped", marks=pytest.mark.slow),
    ],
)
def test_an_engine_that_goes_under_calls(
    engine: EngineApart, daemon: RunningDaemon, how: signal.Signals
) -> None:
    """Its calls fail by name, their tools die; others are refused; it comes back, all is well."""
    mark = f"7{how.value}.{engine.process.pid if engine.process else 0}"
    with daemon.client() as client:
        chain = client.status().ledger_chain
        assert all(works(client).values())
        argv = ["/bin/sh", "-c", f"echo on; (setsid sleep {mark} &); sleep {mark}"]
        calls: dict[str, Events] = {}
        for tier, rest in TIERS.items():
            add_tool(client, f"long_{tier}", argv, sensitivity="1.0", rest=rest)
            add_tool(client, f"brief_{tier}", ["/bin/echo", "x"], sensitivity="1.0", rest=rest)
            assert output(run(client, f"brief_{tier}")) == b"x\n"  # and one waits from now on
            call_id = new_call_id()
            calls[call_id] = begun(client, f"long_{tier}", call_id)
        assert until(lambda: bool(sleepers(mark)), SOON)

        engine.stop(how)

        for call_id, events in calls.items():
            end = finished(list(events))
            assert (end.state, end.reason) == (call_pb2.CALL_STATE_FAILED, "SANDBOX_FAILED"), end
            assert kinds(client, call_id)[-2:] == ["call.running", "call.failed"]
        assert until(lambda: not sleepers(mark), SOON)
        assert until(lambda: not any(works(client)[tier] for tier in TIERS))
        for tier in TIERS:
            end = finished(run(client, f"brief_{tier}"))
            assert (end.state, end.reason) == (call_pb2.CALL_STATE_DENIED, "TIER_UNAVAILABLE")
            assert "Docker Engine" in end.message
            assert end.fix

        engine.start()

        assert until(lambda: all(works(client).values()), 2 * DEADLINE)
        for tier in TIERS:
            assert output(run(client, f"brief_{tier}")) == b"x\n"
        until(lambda: all(one.running for one in engine.known(chain)), LEFT_SECONDS)
        assert all(one.running for one in engine.known(chain)), engine.known(chain)


def test_a_runtime_that_goes_under_a_daemon(engine: EngineApart, daemon: RunningDaemon) -> None:
    """Without runsc a call for gVisor is refused by that name; no other runtime takes its place."""
    with daemon.client() as client:
        limits = "[limits]\npids = 61\n"
        add_tool(client, "odd", ["/bin/echo", "x"], sensitivity="1.0", rest=RISKY + limits)
        engine.runsc.rename(engine.root / "elsewhere")
        try:
            events = run(client, "odd")
        finally:
            (engine.root / "elsewhere").rename(engine.runsc)
        end = finished(events)
        assert (end.state, end.reason) == (call_pb2.CALL_STATE_FAILED, "TIER_UNAVAILABLE"), end
        assert "gvisor tier: RUNTIME_MISSING" in end.message
        assert str(engine.runsc) in end.message
        assert end.fix
        last = receipts(client, events[0].call_id)[-1]
        assert (last["kind"], last["body"]["reason"]) == ("call.failed", "TIER_UNAVAILABLE")
        assert output(events) == b""
        assert output(run(client, "odd")) == b"x\n"


def test_an_engine_whose_disk_is_full(engine: EngineApart, daemon: RunningDaemon) -> None:
    """What it cannot start is a sandbox that failed, by its words; with room again calls run."""
    ballast = engine.data / "ballast"
    with daemon.client() as client:
        for pids in range(63, 73):  # none of these is kept ready
            rest = f"[limits]\npids = {pids}\n"
            add_tool(client, f"cold{pids}", ["/bin/echo", "x"], sensitivity="1.0", rest=rest)
            fill(ballast)
            end = finished(run(client, f"cold{pids}"))
            if end.state != call_pb2.CALL_STATE_SUCCEEDED:
                break  # else the engine has taken something down meanwhile, and there was room
        assert (end.state, end.reason) == (call_pb2.CALL_STATE_FAILED, "SANDBOX_FAILED")
        assert "no space left" in end.message
        ballast.unlink()
        assert output(run(client, f"cold{pids}")) == b"x\n"


def test_nothing_is_left_in_the_engine(engine: EngineApart, daemon: RunningDaemon) -> None:
    """After all of it, a daemon that stops leaves no container and no volume."""
    with daemon.client() as client:
        chain = client.status().ledger_chain
    daemon.stop()
    until(lambda: not (engine.known(chain) or engine.volumes(chain)), LEFT_SECONDS)
    assert engine.known(chain) == []
    assert engine.volumes(chain) == []
    daemon.start()
