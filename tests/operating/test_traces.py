"""Traces of calls: to the collector that is named, bounded, and with nothing that calls say."""

import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager
from uuid import UUID

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from stockade.client import Client, new_call_id
from tests.approvals.leasing import asked
from tests.operating.posting import Posted, posted_to
from tests.promises.acting import ALONE, apply, ask, python_tool, run, until
from tests.running import CONFIG, RunningDaemon, finished, output, running

ARGUMENT = "argument-that-nobody-else-reads"
SECRET = b"secret-that-nobody-else-reads"


class Collector(Posted):
    """Takes what is posted."""

    @property
    def bodies(self) -> list[bytes]:
        return [body for _, body in self.got]

    @property
    def requests(self) -> list[ExportTraceServiceRequest]:
        return [ExportTraceServiceRequest.FromString(body) for body in self.bodies]

    def trace(self, call_id: str) -> dict[str, Span]:
        """The spans of a call, by name; each name once."""
        found = [
            span
            for request in self.requests
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
            if span.trace_id == UUID(call_id).bytes
        ]
        by_name = {span.name: span for span in found}
        assert len(by_name) == len(found)
        return by_name


def collecting(collector: Collector) -> AbstractContextManager[str]:
    return posted_to(collector, "/v1/traces")


@pytest.fixture(scope="module")
def collector() -> Collector:
    # The first post is refused: what it held comes with a later one.
    return Collector(refuse=1)


@pytest.fixture(scope="module")
def daemon(collector: Collector) -> Iterator[RunningDaemon]:
    with collecting(collector) as url, running(f'{CONFIG}[traces]\nendpoint = "{url}"\n') as made:
        yield made


@pytest.fixture(scope="module")
def owner(daemon: RunningDaemon) -> Iterator[Client]:
    with daemon.client() as client:
        client.put_secret("secret://global/told", SECRET)
        apply(client, ALONE + 'permit (principal, action == Action::"use_secret", resource);')
        yield client


def values(span: Span) -> dict[str, str]:
    return {one.key: one.value.string_value for one in span.attributes}


def test_a_call_is_a_trace_of_its_stages(
    daemon: RunningDaemon, owner: Client, collector: Collector
) -> None:
    """Its id is the call's; stages lie within it, one after the other, and say how it ended."""
    call_id = new_call_id()
    end = finished(list(owner.call("run_shell", {"command": "sleep 0.2"}, call_id=call_id)))
    assert end.reason == "SUCCEEDED"
    assert until(lambda: set(collector.trace(call_id)) == {"call", "decide", "record", "run"})
    trace = collector.trace(call_id)
    whole = trace["call"]
    assert values(whole) == {
        "stockade.call": call_id,
        "stockade.tool": "run_shell",
        "stockade.tier": "process",
        "stockade.end": "succeeded",
        "stockade.reason": "SUCCEEDED",
    }
    assert whole.parent_span_id == b""
    assert whole.end_time_unix_nano - whole.start_time_unix_nano >= 200_000_000
    stages = [trace[name] for name in ("decide", "record", "run")]
    for one in stages:
        assert one.parent_span_id == whole.span_id
        assert whole.start_time_unix_nano <= one.start_time_unix_nano <= one.end_time_unix_nano
        assert one.end_time_unix_nano <= whole.end_time_unix_nano
    run_span = trace["run"]
    assert run_span.end_time_unix_nano - run_span.start_time_unix_nano >= 100_000_000
    assert collector.got[-1][0]["Content-Type"] == "application/x-protobuf"
    [resource] = {
        (one.key, one.value.string_value)
        for request in collector.requests
        for spans in request.resource_spans
        for one in spans.resource.attributes
        if one.key == "service.instance.id"
    }
    assert resource[1] == owner.status().ledger_chain
    assert collector.tries > len(collector.bodies)
    assert '"traces.undelivered"' in daemon.log


def test_a_denied_call_and_one_that_people_were_asked_about(
    owner: Client, collector: Collector
) -> None:
    """A denial is a trace without a run and no error; waiting for people is a stage of its own."""
    denied = new_call_id()
    assert finished(list(owner.call("no_such_tool", {}, call_id=denied))).reason == "UNKNOWN_TOOL"
    apply(owner, "")
    waiting = ask(owner, "run_shell", command="true")
    owner.cancel_call(waiting.call_id)
    assert waiting.end().reason == "CANCELLED_BY_REQUEST"
    assert until(lambda: "call" in collector.trace(denied))
    assert until(lambda: "call" in collector.trace(waiting.call_id))
    assert set(collector.trace(denied)) == {"call", "decide", "record"}
    assert set(collector.trace(waiting.call_id)) == {"call", "decide", "record", "approval"}
    assert values(collector.trace(waiting.call_id)["call"])["stockade.end"] == "cancelled"


def test_nothing_that_is_said_in_a_call_is_in_a_trace(
    daemon: RunningDaemon, owner: Client, collector: Collector
) -> None:
    """No argument, output or secret, and nobody's name."""
    apply(owner, ALONE + 'permit (principal, action == Action::"use_secret", resource);')
    rest = '[[secrets]]\nreference = "secret://global/told"\nenv = "TOLD"\n'
    python_tool(owner, "tells", "import os\nprint(os.environ['TOLD'])", rest=rest)
    events = run(owner, "tells")
    assert finished(events).reason == "SUCCEEDED", finished(events)
    call_id = new_call_id()
    said = list(owner.call("run_shell", {"command": f"echo {ARGUMENT}"}, call_id=call_id))
    assert ARGUMENT.encode() in output(said)
    assert until(lambda: "call" in collector.trace(call_id))
    everything = b"".join(collector.bodies)
    me = owner.who_am_i()
    for word in (ARGUMENT.encode(), SECRET, me.principal.encode(), me.device.device_id.encode()):
        assert word not in everything
    assert daemon.log.count(ARGUMENT) == 0


@pytest.mark.parametrize("dead", ["hangs", "is not there"])
def test_a_dead_collector_slows_and_fails_nothing(dead: str) -> None:
    """Calls are answered all the same, and the daemon ends in its time."""
    collector = Collector(hang=threading.Event())
    with collecting(collector) as url:
        place = url if dead == "hangs" else "http://127.0.0.1:1/v1/traces"
        with running(f'{CONFIG}[traces]\nendpoint = "{place}"\n') as daemon:
            with daemon.client() as client:
                apply(client, ALONE)
                for _ in range(20):
                    assert finished(run(client, "no_such_tool")).reason == "UNKNOWN_TOOL"
                if dead == "hangs":
                    assert until(lambda: collector.tries > 0)
                else:
                    assert until(lambda: '"traces.undelivered"' in daemon.log)
                assert finished(run(client, "run_shell", command="true")).reason == "SUCCEEDED"
                assert not asked(client, "run_shell", command="true")
            began = time.monotonic()
            assert daemon.stop() == 0
            assert time.monotonic() - began < 90  # and not as long as the other end hangs


def test_without_an_endpoint_nothing_of_it_is_loaded() -> None:
    """Off by default: what makes traces is not even imported by what the daemon is made of."""
    code = "import sys, daemon.composition; print([m for m in sys.modules if 'telemetry' in m])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=180
    )
    assert json.loads(done.stdout.replace("'", '"')) == []


def test_an_endpoint_without_what_makes_traces_keeps_it_from_starting() -> None:
    """Rather than to run without what the operator relies on: it says what to install."""
    hidden = "import sys; sys.modules['opentelemetry'] = None\n"
    code = f"{hidden}from daemon.main import main\nsys.argv = ['stockaded', 'serve']\nmain()\n"
    with running() as made:
        made.stop()
        config = made.home.config_file
        config.write_text(CONFIG + '[traces]\nendpoint = "http://127.0.0.1:4318/v1/traces"\n')
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=made.environ(),
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
    assert done.returncode == 2, done.stderr
    assert "TRACES_NOT_INSTALLED" in done.stderr
    assert "stockade[otel]" in done.stderr
