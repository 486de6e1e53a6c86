"""Requests of the right form with values that no honest client sends: refused by name."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from stockade.v1 import ledger_pb2, policy_pb2, secret_pb2
from tests.attacks import certificates
from tests.attacks.certificates import Presented
from tests.attacks.probing import raw_error, send
from tests.running import RunningDaemon

NO_TIMES = [
    Timestamp(seconds=2**63 - 1),
    Timestamp(seconds=-(2**63)),
    Timestamp(seconds=253402300800),  # the year 10000
    Timestamp(seconds=1, nanos=-1),
    Timestamp(seconds=1, nanos=2**31 - 1),
]
NO_NUMBERS = [2**53, 2**63, 2**64 - 1]


@pytest.fixture(scope="module")
def channel(shared_daemon: RunningDaemon) -> Iterator[grpc.Channel]:
    """The owner's, without the client library."""
    with certificates.channel(shared_daemon, Presented.of(shared_daemon.home)) as opened:
        yield opened


def refused(daemon: RunningDaemon, channel: grpc.Channel, method: str, request: Any) -> str:
    """The reason of a refusal that says what to do, and leaves no trace of a defect."""
    log = len(daemon.log)
    with pytest.raises(grpc.RpcError) as caught:
        send(channel, f"/stockade.v1.{method}", request.SerializeToString())
    error = raw_error(caught.value)
    assert error.code is grpc.StatusCode.INVALID_ARGUMENT
    assert error.fix
    assert "Traceback" not in daemon.log[log:]
    return error.reason


@pytest.mark.parametrize("time", NO_TIMES, ids=range(len(NO_TIMES)))
def test_a_time_that_is_in_no_calendar_is_refused(
    shared_daemon: RunningDaemon, channel: grpc.Channel, time: Timestamp
) -> None:
    """Of a secret's end, of a replay's beginning."""
    put = secret_pb2.PutSecretRequest(
        reference="secret://global/odd", value=b"odd-odd-odd", expires=time
    )
    replay = policy_pb2.ReplayPolicyRequest(since=time)
    for method, request in (
        ("SecretService/PutSecret", put),
        ("PolicyService/ReplayPolicy", replay),
    ):
        assert refused(shared_daemon, channel, method, request) == "BAD_REQUEST"


@pytest.mark.parametrize("number", NO_NUMBERS)
def test_a_number_that_no_receipt_can_have_is_refused(
    shared_daemon: RunningDaemon, channel: grpc.Channel, number: int
) -> None:
    """Before an export is recorded, whose receipt could not hold it."""
    export = ledger_pb2.ExportLedgerRequest(after_sequence=number)
    follow = ledger_pb2.FollowLedgerRequest(after_sequence=number)
    for method, request in (
        ("LedgerService/ExportLedger", export),
        ("LedgerService/FollowLedger", follow),
    ):
        assert refused(shared_daemon, channel, method, request) == "BAD_FILTER"
