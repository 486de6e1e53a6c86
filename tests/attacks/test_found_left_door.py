"""Whoever comes by a door, asks, and is gone before its request is read."""

import json
import shutil
import ssl
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from stockade.client import Client, new_call_id
from stockade.v1 import call_pb2, tool_pb2
from tests.attacks.test_full_port import HANDS_OVER, tls
from tests.attacks.test_http2 import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    OPENING,
    dialled,
    frame,
    request,
)
from tests.promises.acting import ALONE, add_tool, apply, until
from tests.running import CONFIG, RunningDaemon, finished, make_directory

ENOUGH = 3
NOT_FROM_THERE = ALONE + (
    '@id("nobody-from-there") forbid (principal, action == Action::"call", resource)\n'
    'when { context.origin like "ipv4:127.0.0.1:*" };'
)


@pytest.fixture(scope="module")
def daemon() -> Iterator[RunningDaemon]:
    """One with a door: it was handed the socket that it is reached by."""
    made = RunningDaemon(make_directory(), CONFIG, wrapper=(sys.executable, "-c", HANDS_OVER))
    try:
        yield made.start()
    finally:
        made.stop()
        shutil.rmtree(made.root, ignore_errors=True)


def asks_for(call: tool_pb2.CallRequest) -> bytes:
    """All that the client has to send, once TLS is there."""
    message = call.SerializeToString()
    sent = b"\0" + len(message).to_bytes(4, "big") + message
    return (
        OPENING
        + frame(HEADERS, request(b"/stockade.v1.ToolService/Call"), flags=END_HEADERS, stream=1)
        + frame(DATA, sent, flags=END_STREAM, stream=1)
    )


def leave_behind(daemon: RunningDaemon, context: ssl.SSLContext) -> None:
    """A detached call, by a connection that ends with its last byte."""
    call = tool_pb2.CallRequest(
        call_id=new_call_id(), tool="harmless", arguments=b"{}", detach=True
    )
    with dialled(daemon, context) as connection:
        connection.sendall(asks_for(call))


def refusals(owner: Client) -> list[dict[str, Any]]:
    """The receipts of what was refused because whoever asked had left."""
    found = [json.loads(one.canonical) for one in owner.read_ledger(page_size=500).receipts]
    return [one["body"] for one in found if one["body"].get("reason") == "CONNECTION_LEFT"]


def test_a_caller_that_has_left_is_not_judged_as_if_it_came_from_elsewhere(
    daemon: RunningDaemon,
) -> None:
    """Policy forbids its address: what it left behind does not run either, and is recorded."""
    device = daemon.pair_device("attacker", "callers")
    context = tls(daemon, device)
    with daemon.client() as owner, Client.open(device) as attacker:
        add_tool(owner, "harmless", ["/bin/true"])
        apply(owner, NOT_FROM_THERE)
        name = attacker.who_am_i().principal
        assert finished(list(attacker.call("harmless", {}))).state == call_pb2.CALL_STATE_DENIED

        def refused() -> list[dict[str, Any]]:
            for _ in range(ENOUGH):
                leave_behind(daemon, context)
            return refusals(owner)

        assert until(lambda: len(refused()) >= ENOUGH)
        found = owner.list_calls(page_size=500).calls
        assert {one.state for one in found} == {call_pb2.CALL_STATE_DENIED}
        assert {(one["principal"], one["origin"]) for one in refusals(owner)} == {(name, "left")}
