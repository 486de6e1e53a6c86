"""Docker Engine dies, stops or fills up under calls: each has one honest end, and nothing stays."""

import signal
from collections.abc import Iterator

import pytest

from stockade.client import Client, new_call_id
from stockade.v1 import call_pb2
from tests.attacks.engine_apart import EngineApart, engine_apart
from tests.daemon.store.test_faults import fill
from tests.promises.acting import (
    ALONE,
    DEADLINE,
    SOON,
    Events,
    add_tool,
    apply,
    kinds,
    run,
    sleepers,
    until,
)
from tests.running import RunningDaemon, finished, output, running

EVERYTHING = ALONE + "permit (principal, action, resource);"
RISKY = "[capabilities]\nnetwork = true\nfilesystem_write = true\nexternal_apis = true\n"
TIERS = {"container": "", "gvisor": RISKY}


@pytest.fixture(scope="module")
def engine() -> Iterator[EngineApart]:
    """One engine for the tests of this module."""
    with engine_apart() as made:
        yield made


@pytest.fixture(scope="module")
def daemon(engine: EngineApart) -> Iterator[RunningDaemon]:
    """A daemon on that engine."""
    with running(engine.config) as made:
        with made.client() as client:
            apply(client, EVERYTHING)
        yield made


def works(client: Client) -> dict[str, bool]:
    return {tier.name: tier.works for tier in client.status().tiers}


def begun(client: Client, tool: str, call_id: str) -> Events:
    events = client.call(tool, {}, call_id=call_id)
    for event in events:
        assert not event.HasField("finished"), event
        if event.HasField("output"):
            return events
    raise AssertionError("it did not run")


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
        assert until(lambda: all(one.running for one in engine.known(chain)), SOON), engine.known(
            chain
        )


def test_an_engine_whose_disk_is_full(engine: EngineApart, daemon: RunningDaemon) -> None:
    """What it cannot start is a sandbox that failed, by its words; with room again calls run."""
    ballast = engine.data / "ballast"
    with daemon.client() as client:
        add_tool(
            client, "cold", ["/bin/echo", "x"], sensitivity="1.0", rest="[limits]\npids = 63\n"
        )
        fill(ballast)
        end = finished(run(client, "cold"))
        assert (end.state, end.reason) == (call_pb2.CALL_STATE_FAILED, "SANDBOX_FAILED")
        assert "no space left" in end.message
        ballast.unlink()
        assert output(run(client, "cold")) == b"x\n"


def test_nothing_is_left_in_the_engine(engine: EngineApart, daemon: RunningDaemon) -> None:
    """After all of it, a daemon that stops leaves no container and no volume."""
    with daemon.client() as client:
        chain = client.status().ledger_chain
    daemon.stop()
    assert engine.known(chain) == []
    assert engine.volumes(chain) == []
    daemon.start()
