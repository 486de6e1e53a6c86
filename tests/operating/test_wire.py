"""What a client of another make finds: the events of a call in their order, and what is served."""

from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_reflection.v1alpha import reflection_pb2

from daemon.server import SERVICES
from stockade.client import Client
from stockade.v1 import call_pb2
from tests.attacks import certificates
from tests.attacks.certificates import Presented
from tests.attacks.probing import converse
from tests.promises.acting import ask
from tests.running import RunningDaemon

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
