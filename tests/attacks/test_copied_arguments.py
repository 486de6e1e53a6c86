"""Arguments made so that their redacted copy fails, is huge, or takes long: each has its receipt.

Whoever may call at all chooses them; and of a refusal they are looked at, too.
"""

import json
from collections.abc import Iterator

import psutil
import pytest

from stockade.client import Client, new_call_id
from stockade.v1 import call_pb2
from tests.promises.acting import ALONE, add_tool, apply, receipts
from tests.running import CONFIG, RunningDaemon, finished, running

REDACTED = CONFIG + '[ledger]\ncontents = "redacted"\n[rates]\narguments_kib_per_second = 100_000\n'
MIB = 1024 * 1024
# A word of the vault's, short: it is looked for in every key and every value.
SECRET = "s3cr3t-Qv"


def one_key(size: int) -> bytes:
    return json.dumps({"k" * (size - 10): 1}).encode()


def deep(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


def many_keys() -> bytes:
    return json.dumps({f"{SECRET}{number}": SECRET for number in range(4_900)}).encode()


def grows() -> bytes:
    """As long as may be; canonical, its numbers are four times as long."""
    numbers = b",".join([b"1e15"] * 9_000)
    start, end = b'{"n":[' + numbers + b'],"t":"', b'"}'
    return start + b"x" * (MIB - len(start) - len(end)) + end


def escapes() -> bytes:
    return json.dumps({"t": "\x01" * 170_000, "\x7f" * 1000: "\N{BELL}" * 1000}).encode()


def nearly_tokens() -> bytes:
    """Each of thousands of places could be where a token begins, and none is."""
    unit = "eyJaaaaaa-"
    return json.dumps({unit * (MIB // 4 // len(unit)): 1}).encode()


ATTACKS = {
    "10,000 keys": many_keys(),
    "a key of 1 MiB": one_key(MIB),
    "32 levels": deep(31),
    "33 levels": deep(40),
    "10,000 levels": deep(10_000),
    "canonical beyond 1 MiB": grows(),
    "escapes": escapes(),
    "nearly tokens": nearly_tokens(),
    "no JSON": b"{" * 1000,
    "not UTF-8": b'{"a":"\xff"}',
    "half a character": b'{"a":"\\ud800"}',
    "marks": json.dumps({"[redacted string: vault]": "[redacted", "": {"": ""}}).encode(),
}


@pytest.fixture(scope="module")
def daemon() -> Iterator[RunningDaemon]:
    with running(REDACTED) as made:
        assert made.cli("secrets", "put", "secret://global/word", stdin=SECRET).status == 0
        with made.client() as client:
            apply(client, ALONE)
            add_tool(client, "takes_t", ["/bin/true"], before="")
        yield made


@pytest.fixture(scope="module")
def client(daemon: RunningDaemon) -> Iterator[Client]:
    with daemon.client() as client:
        yield client


@pytest.mark.parametrize("tool", ["no_such_tool", "takes_t"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_a_refusal_has_its_receipt_whatever_was_sent(
    client: Client, attack: str, tool: str
) -> None:
    """Unknown tool, or arguments that do not fit: denied, recorded, and in nothing the secret."""
    call_id = new_call_id()
    end = finished(list(client.call(tool, ATTACKS[attack], call_id=call_id)))
    assert end.state == call_pb2.CALL_STATE_DENIED
    made = receipts(client, call_id)
    assert [one["kind"] for one in made] == ["call.received", "call.denied"]
    assert SECRET not in json.dumps(made)
    assert len(json.dumps(made)) < 64 * 1024


def test_what_nearly_looks_like_a_secret_holds_up_nobody(
    daemon: RunningDaemon, client: Client
) -> None:
    """Looked through for tokens, it takes the daemon no more than text of that length does."""
    process, spent = psutil.Process(daemon.pid), {}
    plain = json.dumps({"a" * (MIB // 4): 1}).encode()
    for name, sent in {"plain": plain, "nearly": ATTACKS["nearly tokens"]}.items():
        before = process.cpu_times()
        finished(list(client.call("no_such_tool", sent)))
        after = process.cpu_times()
        spent[name] = after.user + after.system - before.user - before.system
    assert spent["nearly"] < 10 * spent["plain"] + 1
