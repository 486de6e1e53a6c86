"""What the attacks look at: raw errors, the ledger, and whether anything ran."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

from stockade.client import Client
from stockade.v1 import call_pb2
from tests.running import finished

SECONDS = 120
DETAILS_KEY = "grpc-status-details-bin"


@dataclass(frozen=True)
class RawError:
    """An RPC's error as it is on the wire, read without the client library."""

    code: grpc.StatusCode
    message: str
    reason: str
    domain: str
    fix: str


def raw_error(error: grpc.RpcError) -> RawError:
    """Exactly one google.rpc.ErrorInfo, whose Status agrees with the RPC's own."""
    details = [entry.value for entry in error.trailing_metadata() if entry.key == DETAILS_KEY]
    assert len(details) == 1, error
    status = status_pb2.Status.FromString(details[0])
    assert status.code == error.code().value[0]
    assert status.message == error.details()
    assert len(status.details) == 1
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    return RawError(
        error.code(), status.message, info.reason, info.domain, info.metadata.get("fix", "")
    )


def send(channel: Any, method: str, message: bytes = b"") -> bytes:
    """Sends one message of any bytes to any method; the first answer."""
    answer: bytes = next(channel.unary_stream(method)(message, timeout=SECONDS))
    return answer


def converse(channel: Any, method: str, *messages: bytes) -> list[bytes]:
    """Sends a stream of messages to any method; all answers."""
    return list(channel.stream_stream(method)(iter(messages), timeout=SECONDS))


def ledger(client: Client) -> list[dict[str, Any]]:
    """Every receipt there is, oldest first."""
    text = b"".join(chunk.lines for chunk in client.export_ledger())
    return [json.loads(line)["receipt"] for line in text.splitlines()]


def sequence(client: Client) -> int:
    """The number of the ledger's last receipt. Asking adds none."""
    return client.status().ledger_sequence


def newest(client: Client) -> dict[str, Any]:
    """The ledger's last receipt."""
    found: dict[str, Any] = json.loads(client.read_ledger(page_size=1).receipts[0].canonical)
    return found


def receipts_of(client: Client, call_id: str) -> list[dict[str, Any]]:
    """The receipts of one call, oldest first."""
    found = client.read_ledger(call_id=call_id).receipts
    return [json.loads(receipt.canonical) for receipt in found]


def denied(
    client: Client, events: Sequence[call_pb2.CallEvent], reason: str
) -> call_pb2.CallEvent.Finished:
    """The end of a call that was denied for that reason, recorded so, and that ran nothing."""
    end = finished(list(events))
    assert (end.state, end.reason) == (call_pb2.CALL_STATE_DENIED, reason)
    assert end.message
    assert end.fix
    assert not any(event.HasField("started") for event in events)
    recorded = receipts_of(client, events[0].call_id)
    assert [receipt["kind"] for receipt in recorded] == ["call.received", "call.denied"]
    assert recorded[-1]["body"]["reason"] == reason
    return end
