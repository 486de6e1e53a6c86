"""What a client of another make finds: the events of a call in their order, and what is served."""

import threading
from contextlib import suppress
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from daemon.server import SERVICES
from stockade.client import Client
from stockade.v1 import call_pb2
from tests.attacks import certificates
from tests.attacks.certificates import Presented
from tests.attacks.probing import SECONDS, converse, raw_error, send
from tests.promises.acting import ask, until
from tests.running import RunningDaemon

TOOLS = "stockade.v1.ToolService"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"


def told(events: list[call_pb2.CallEvent]) -> list[str]:
    """What happened, in order; output may come in any number of pieces."""
    names = [event.WhichOneof("event") or "" for event in events]
    return [name for n, name in enumerate(names) if name != "output" or names[n - 1] != "output"]


def test_the_events_of_a_call_come_in_their_order(owner: Client, approver: Client) -> None:
    """Received, decided, asked about, started, output, finished; the same to who watches later."""
    waiting = ask(owner, "run_shell", command="echo here")
    approver.answer_approval(waiting.approval, approve=True)
    end = waiting.end()
    watched = list(owner.watch_call(waiting.call_id))
    after = ["started", "output", "finished"]
    assert told(watched) == ["received", "decision", "awaiting_approval", *after]
    assert told(waiting.rest) == after
    assert {event.call_id for event in watched} == {waiting.call_id}
    times = [event.time.ToNanoseconds() for event in watched]
    assert times == sorted(times)
    decision = watched[1].decision
    assert decision.verdict == call_pb2.CallEvent.Decision.VERDICT_NEEDS_APPROVAL
    assert decision.policy_digest == owner.status().policy_digest
    assert watched[2].awaiting_approval.approval_id == waiting.approval.approval_id
    assert end.receipt.kind == "call.succeeded"
    assert (end.receipt.sequence, end.receipt.signature) != (0, b"")
    assert watched[-1].finished.receipt == end.receipt


def reflected(daemon: RunningDaemon, **asked: Any) -> reflection_pb2.ServerReflectionResponse:
    """What reflection answers to the daemon's own device."""
    request = reflection_pb2.ServerReflectionRequest(**asked).SerializeToString()
    with certificates.channel(daemon, Presented.of(daemon.home)) as channel:
        [answer] = converse(channel, REFLECTION, request)
    return reflection_pb2.ServerReflectionResponse.FromString(answer)


def test_what_is_served_can_be_found_out(shared_daemon: RunningDaemon) -> None:
    """By reflection, to whoever policy lets read: every service by name, and the form of each."""
    found = reflected(shared_daemon, list_services="")
    names = {service.name for service in found.list_services_response.service}
    assert set(SERVICES) <= names
    for service in SERVICES:
        described = reflected(shared_daemon, file_containing_symbol=service)
        [file, *_] = described.file_descriptor_response.file_descriptor_proto
        own = FileDescriptorProto.FromString(file)
        assert service in {f"{own.package}.{one.name}" for one in own.service}


Answer = health_pb2.HealthCheckResponse


def test_health_is_listed_by_service(shared_daemon: RunningDaemon) -> None:
    """All of them and each by its name; what is not served is said to be unknown."""
    check = "/grpc.health.v1.Health/Check"
    with certificates.channel(shared_daemon, Presented.of(shared_daemon.home)) as channel:
        listed = send(channel, "/grpc.health.v1.Health/List")
        one = send(channel, check, health_pb2.HealthCheckRequest(service=TOOLS).SerializeToString())
        unknown = health_pb2.HealthCheckRequest(service="elsewhere").SerializeToString()
        with pytest.raises(grpc.RpcError) as caught:
            send(channel, check, unknown)
    response: Any = vars(health_pb2)["HealthListResponse"]  # newer than its stubs
    statuses = response.FromString(listed).statuses
    assert {name: one.status for name, one in statuses.items()} == dict.fromkeys(
        ("", *SERVICES), Answer.SERVING
    )
    assert Answer.FromString(one).status == Answer.SERVING
    error = raw_error(caught.value)
    assert (error.code, error.reason) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")


def test_health_is_watched_from_serving_to_the_end(daemon: RunningDaemon) -> None:
    """As a balancer does: the state at once, and that the daemon goes before it is gone."""
    told: dict[str, list[int]] = {"": [], TOOLS: [], "elsewhere": []}

    def watch(channel: Any, name: str) -> None:
        request = health_pb2.HealthCheckRequest(service=name).SerializeToString()
        stream = channel.unary_stream("/grpc.health.v1.Health/Watch")(request, timeout=SECONDS)
        with suppress(grpc.RpcError):
            told[name] += (Answer.FromString(answer).status for answer in stream)

    with certificates.channel(daemon, Presented.of(daemon.home)) as channel:
        watchers = [threading.Thread(target=watch, args=(channel, name)) for name in told]
        for watcher in watchers:
            watcher.start()
        assert until(lambda: all(told.values()))
        assert daemon.stop() == 0
        for watcher in watchers:
            watcher.join(SECONDS)
    assert told == {
        "": [Answer.SERVING, Answer.NOT_SERVING],
        TOOLS: [Answer.SERVING, Answer.NOT_SERVING],
        "elsewhere": [Answer.SERVICE_UNKNOWN],
    }
