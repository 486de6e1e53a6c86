"""A process of a paired device's that opens as many connections as it can, and holds them.

`python -m tests.attacks.port_hog HOME NUMBER` prints one JSON object when it is done: how many
connections serve it, and what each other was told. It holds all of them until its input ends.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import cast

import grpc
from google.rpc import error_details_pb2, status_pb2

from stockade.connection import SERVER_NAME
from stockade.credentials import Credentials, load_credentials
from stockade.home import Home
from stockade.status import DETAILS_KEY
from stockade.v1 import device_pb2, device_pb2_grpc, ledger_pb2, ledger_pb2_grpc

SECONDS = 30


def connection(credentials: Credentials, address: str) -> grpc.Channel:
    """A channel that shares its connection with no other, and never stops saying that it lives."""
    return grpc.secure_channel(
        address,
        grpc.ssl_channel_credentials(
            credentials.authority, credentials.key_bytes, credentials.certificate
        ),
        options=[
            ("grpc.ssl_target_name_override", SERVER_NAME),
            ("grpc.use_local_subchannel_pool", 1),
            ("grpc.enable_http_proxy", 0),
            ("grpc.keepalive_time_ms", 10_000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.enable_retries", 0),
        ],
    )


def told(error: grpc.RpcError) -> str:
    """The reason it was refused for, marked where it says when to come back."""
    trailers = cast("Iterable[tuple[str, bytes]]", error.trailing_metadata() or ())
    details = [value for key, value in trailers if key == DETAILS_KEY]
    status = status_pb2.Status.FromString(b"".join(details))
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    timed = any(one.Unpack(retry) for one in status.details)
    for one in status.details:
        one.Unpack(info)
    return f"{error.code().name} {info.reason}{' later' if timed else ''}"


def main() -> None:
    """Takes what it can."""
    home, number = Home.under(Path(sys.argv[1])), int(sys.argv[2])
    credentials = load_credentials(home.client)
    assert credentials.address is not None
    said: Counter[str] = Counter()
    held: list[object] = []
    for _ in range(number):
        channel = connection(credentials, credentials.address)
        held.append(channel)
        try:
            device_pb2_grpc.DeviceServiceStub(channel).WhoAmI(
                device_pb2.WhoAmIRequest(), timeout=SECONDS
            )
        except grpc.RpcError as error:
            said[told(error)] += 1
            continue
        said["served"] += 1
        # A stream that has no end: nothing about the connection is idle.
        stub = ledger_pb2_grpc.LedgerServiceStub(channel)
        held.append(stub.FollowLedger(ledger_pb2.FollowLedgerRequest()))
    print(json.dumps(said), flush=True)  # noqa: T201 - this is what it is for
    sys.stdin.read()


if __name__ == "__main__":
    main()
