"""The policy engine's own words about an error quote numbers of the call: they must not get out."""

import json

import pytest

from stockade.client import Client
from stockade.v1 import call_pb2
from tests.attacks.probing import ledger
from tests.promises.acting import ALONE, add_tool, policy
from tests.running import RunningDaemon, finished

PIN = 73315501
OVERFLOW = """
@id("too-much")
forbid (principal, action == Action::"call", resource)
when {
  context.arguments has found_pin && context.arguments.found_pin has pin &&
  context.arguments.found_pin.pin + 9223372036854775800 > 0
};
"""
ARGUMENT = '[input.properties.pin]\ntype = "integer"\ndefault = 0\n'


@pytest.mark.parametrize("default", [True, False], ids=["one permits", "none permits"])
def test_a_number_is_not_told_by_the_policy_that_it_overflows(
    shared_daemon: RunningDaemon, *, default: bool
) -> None:
    """A policy in error denies, is named as the one in error, and quotes no argument."""
    only = '@id("administer") permit (principal, action in Action::"administer", resource);'
    with shared_daemon.client() as client:
        add_tool(client, "found_pin", ["/usr/bin/true", "{pin}"], rest=ARGUMENT)
        rest = ALONE if default else only
        with policy(client, OVERFLOW + rest, default=default):
            events = list(client.call("found_pin", {"pin": PIN}))
        end = finished(events)
        assert (end.state, end.reason) == (call_pb2.CALL_STATE_DENIED, "EVALUATION_ERROR")
        assert "too-much" in end.message
        assert "forbidden by" not in end.message
        told = "\n".join([str(events), json.dumps(ledger(client)), shared_daemon.log])
        assert str(PIN) not in told


def test_the_caller_of_such_a_call_is_not_told_either(shared_daemon: RunningDaemon) -> None:
    """Not even who sent the number gets it back in an error: errors are copied into logs."""
    with Client.open(shared_daemon.pair_device("caller", "callers")) as caller:
        with shared_daemon.client() as owner, policy(owner, OVERFLOW):
            end = finished(list(caller.call("found_pin", {"pin": PIN})))
        assert str(PIN) not in end.message
