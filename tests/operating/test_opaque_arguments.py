"""Arguments that have no Cedar type: policy sees them as one text, of one form and bounded size."""

from collections.abc import Iterator

import pytest

from stockade.client import Client
from stockade.errors import BadRequest
from stockade.v1 import call_pb2
from tests.promises.acting import ALONE, add_tool, kinds, policy, policy_files
from tests.running import finished

# A number that need not be whole has no exact Cedar value.
LOOSE = '[input.properties.share]\ntype = "number"\n[input.properties.text]\ntype = "string"\n'
ABOUT = "context.arguments has loose && context.arguments.loose"
SUDO = (
    '@id("sudo") forbid (principal, action == Action::"call", resource) '
    f'when {{ {ABOUT}.json like "*\\"text\\":\\"sudo*" }};'
)


@pytest.fixture(scope="module", autouse=True)
def loose(owner: Client) -> Iterator[None]:
    add_tool(owner, "loose", ["/bin/true"], rest=LOOSE)
    with policy(owner, ALONE + SUDO):
        yield


def end(client: Client, arguments: bytes) -> call_pb2.CallEvent.Finished:
    return finished(list(client.call("loose", arguments)))


@pytest.mark.parametrize(
    "arguments",
    [
        b'{"share":0.5,"text":"sudo rm"}',
        b'{ "text" : "sudo rm" , "share" : 0.50 }',
        b'{"share":5e-1,"text":"\\u0073\\u0075do rm"}',
        b'{"text":"su\\u0064o"}',
    ],
)
def test_however_they_are_written_the_text_is_one(owner: Client, arguments: bytes) -> None:
    """Order, white space, escapes, another spelling of a number: no way around a pattern."""
    found = end(owner, arguments)
    assert (found.state, found.reason) == (call_pb2.CALL_STATE_DENIED, "FORBIDDEN")
    assert "sudo" in found.message
    assert end(owner, arguments.replace(b"o", b"0")).reason == "SUCCEEDED"


def test_what_is_too_long_for_policy_is_denied(owner: Client) -> None:
    """More than policy looks at (256 KiB) is no way around it either; the denial is recorded."""
    assert end(owner, b'{"text":"%b"}' % (b"a" * 250 * 1024)).reason == "SUCCEEDED"
    events = list(owner.call("loose", b'{"text":"%b"}' % (b"a" * 260 * 1024)))
    found = finished(events)
    assert (found.state, found.reason) == (call_pb2.CALL_STATE_DENIED, "ARGUMENTS_TOO_LARGE")
    assert found.fix
    assert kinds(owner, events[0].call_id) == ["call.received", "call.denied"]


def test_a_policy_that_takes_them_for_a_record_is_refused(owner: Client) -> None:
    """The schema says which of the two it is, and strict validation holds policies to it."""
    assert '"loose"?: {"json": __cedar::String}' in owner.get_policy().schema
    wrong = f'permit (principal, action, resource) when {{ {ABOUT}.text == "x" }};'
    with pytest.raises(BadRequest) as caught:
        owner.apply_policy(policy_files(wrong))
    assert caught.value.reason == "POLICY_INVALID"
    assert "extra.cedar:1" in caught.value.message
