"""A lease's bounds are not dodged by how arguments are written: encoding, order, script, type."""

from collections.abc import Iterator
from typing import Any

import pytest

from stockade.client import Client
from stockade.errors import BadRequest
from stockade.v1 import call_pb2
from tests.approvals.leasing import give
from tests.promises.acting import add_tool, policy

INPUT = (
    '[input.properties.name]\ntype = "string"\n[input.properties.n]\ntype = "integer"\n'
    '[input.properties.deep]\ntype = "boolean"\n'
)
# The tool would run unasked; this wants a lease, and another policy permits the rest: a lease that
# does not cover the call is none.
ASK = '@id("ask") forbid (principal, action == Action::"call_unattended", resource)'
ASK += " unless { context has lease };"
BOUNDS: Any = {"name": {"is": "caf\u00e9"}, "n": {"from": 1, "to": 3}, "deep": {"is": False}}
GIVEN: Any = {"name": "caf\u00e9", "n": 1, "deep": False}

THE_SAME = (
    b'{"name":"caf\\u00e9","n":1,"deep":false}',
    b'{"deep":false,"n":3,"name":"caf\xc3\xa9"}',
    b' { "n" : 2 , "name" : "\\u0063af\\u00E9" , "deep" : false } ',
)
OTHERS = (
    b'{"name":"cafe\\u0301","n":1,"deep":false}',  # decomposed
    b'{"name":"caf\\u00e9 ","n":1,"deep":false}',
    b'{"name":"caf\\u00e9\\u200b","n":1,"deep":false}',  # zero width
    b'{"name":"\\u0441af\\u00e9","n":1,"deep":false}',  # a letter of another script
    b'{"name":"CAF\\u00c9","n":1,"deep":false}',
    b'{"name":"caf%C3%A9","n":1,"deep":false}',
    b'{"name":"caf\\u00e9","n":4,"deep":false}',
    b'{"name":"caf\\u00e9","n":0,"deep":false}',
    b'{"name":"caf\\u00e9","n":-1,"deep":false}',
    b'{"name":"caf\\u00e9","n":1,"deep":true}',
    # Refused before anybody is asked: of another type, said twice, unknown, no number or text.
    b'{"name":"caf\\u00e9","n":"1","deep":false}',
    b'{"name":"caf\\u00e9","n":1.5,"deep":false}',
    b'{"name":"caf\\u00e9","n":true,"deep":false}',
    b'{"name":"caf\\u00e9","n":1,"deep":0}',
    b'{"name":"caf\\u00e9","n":1,"deep":"false"}',
    b'{"name":["caf\\u00e9"],"n":1,"deep":false}',
    b'{"name":"other","n":9,"name":"caf\\u00e9","n":1,"deep":false}',
    b'{"name":"caf\\u00e9","n":1,"deep":false,"more":1}',
    b'{"name":"caf\\u00e9","n":NaN,"deep":false}',
    b'{"name":"caf\\u00e9","n":18446744073709551617,"deep":false}',
    b'{"name":"caf\\ud800","n":1,"deep":false}',
    b'{"name":"caf\xe9","n":1,"deep":false}',
)


@pytest.fixture(scope="module")
def leased(owner: Client, approver: Client) -> Iterator[Client]:
    """A caller with a lease for one name, three numbers and one truth value."""
    with policy(owner, ASK):
        add_tool(owner, "bounded", ["/bin/true"], rest=INPUT)
        give(owner, approver, "bounded", uses=50, bounds=BOUNDS, **GIVEN)
        yield owner


def unasked(client: Client, arguments: bytes) -> bool:
    """Whether it ran without anybody's being asked."""
    try:
        for event in client.call("bounded", arguments):
            if event.HasField("awaiting_approval"):
                client.cancel_call(event.call_id)
                return False
            if event.HasField("finished"):
                return event.finished.state == call_pb2.CALL_STATE_SUCCEEDED
    except BadRequest:
        return False
    raise AssertionError("no end")


@pytest.mark.parametrize("arguments", THE_SAME)
def test_the_same_arguments_are_the_same_however_they_are_written(
    leased: Client, arguments: bytes
) -> None:
    """Escapes, order and white space of the JSON are no part of what is said."""
    assert unasked(leased, arguments)


@pytest.mark.parametrize("arguments", OTHERS)
def test_other_arguments_are_others_however_they_are_written(
    leased: Client, arguments: bytes
) -> None:
    """Another composition, script, case, type, number, or a second word: asked about or refused."""
    assert not unasked(leased, arguments)
