"""One call id, sent at once by two: whose call it is was once whoever asked first."""

import threading
from collections.abc import Iterator

import pytest

from stockade.client import Client, new_call_id
from stockade.errors import StockadeError
from stockade.v1 import policy_pb2
from tests.attacks.probing import receipts_of
from tests.promises.acting import add_tool
from tests.running import RunningDaemon, finished, output

# The vault is asked between judging and recording: there another request may come in.
ROUNDS = 25
SECRET = "secret://global/found"
POLICY = f"""
@id("found-unattended")
permit (principal, action == Action::"call_unattended", resource);
@id("found-secret")
permit (principal, action == Action::"use_secret", resource == Secret::"{SECRET[9:]}");
"""
REST = f"""
[[secrets]]
reference = "{SECRET}"
env = "FOUND"
[input.properties.said]
type = "string"
default = ""
"""


@pytest.fixture(scope="module")
def callers(shared_daemon: RunningDaemon) -> Iterator[tuple[Client, Client]]:
    """Two devices that may call a tool with a secret, unattended."""
    with (
        shared_daemon.client() as owner,
        Client.open(shared_daemon.pair_device("caller", "callers")) as other,
    ):
        owner.put_secret(SECRET, b"a value of some length")
        add_tool(owner, "found", ["/usr/bin/printf", "%s", "{said}"], rest=REST)
        files = [*owner.get_policy().files, policy_pb2.PolicyFile(name="f.cedar", text=POLICY)]
        owner.apply_policy(files)
        yield owner, other


def at_once(call_id: str, *asked: tuple[Client, str]) -> list[bytes | str]:
    """What each of them got who sent the id at the same moment: output, or a reason code."""
    together = threading.Barrier(len(asked))
    got: list[bytes | str] = [b"" for _ in asked]

    def ask(number: int, client: Client, said: str) -> None:
        together.wait()
        try:
            got[number] = output(list(client.call("found", {"said": said}, call_id=call_id)))
        except StockadeError as error:
            got[number] = error.reason

    threads = [
        threading.Thread(target=ask, args=(number, *one)) for number, one in enumerate(asked)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return got


def test_an_id_sent_by_two_devices_at_once_shows_neither_the_others_call(
    callers: tuple[Client, Client],
) -> None:
    """A call id in two devices' hands at one moment is one device's call, and the other's error."""
    owner, other = callers
    for _ in range(ROUNDS):
        got = at_once(new_call_id(), (owner, "mine"), (other, "theirs"))
        assert got in ([b"mine", "CALL_ID_REUSED"], ["CALL_ID_REUSED", b"theirs"])


def test_an_id_sent_twice_at_once_with_other_arguments_is_refused(
    callers: tuple[Client, Client],
) -> None:
    """Of two requests under one id at one moment, the one that did not run is told so."""
    owner, _ = callers
    for _ in range(ROUNDS):
        got = at_once(new_call_id(), (owner, "one"), (owner, "two"))
        assert got in ([b"one", "CALL_ID_REUSED"], ["CALL_ID_REUSED", b"two"])


def test_an_id_sent_twice_at_once_runs_once(callers: tuple[Client, Client]) -> None:
    """The same request twice at one moment is one call, one run, told to both."""
    owner, _ = callers
    for _ in range(ROUNDS):
        call_id = new_call_id()
        assert at_once(call_id, (owner, "same"), (owner, "same")) == [b"same", b"same"]
        kinds = [receipt["kind"] for receipt in receipts_of(owner, call_id)]
        assert kinds == ["call.received", "call.permitted", "call.running", "call.succeeded"]
        assert finished(list(owner.watch_call(call_id))).reason == "SUCCEEDED"
