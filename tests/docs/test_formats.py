"""The examples of docs/formats.md and docs/pairing.md are what the code computes."""

import base64
import hashlib
import json

import pytest

from ledger.checkpoint import parse_checkpoint
from ledger.export import encode_line, parse_line
from ledger.keys import parse_public
from ledger.merkle import CompactRange
from ledger.receipt import digest_of, message_of
from ledger.verify import verify
from policy.bundle import Bundle
from policy.entity_data import parse_entity_data, state_digest
from policy.schema import load_base
from stockade.pairing_code import PairingCode, parse_pairing_code
from stockade.statement import StatementError, answer_bytes, parse_statement
from stockade.words import words
from tests.docs.pages import ROOT, fenced, read

FIXTURES = ROOT / "tests" / "ledger" / "fixtures"
PAGE = read("docs/formats.md")


def _statement() -> bytes:
    return fenced(PAGE, "json")[0].replace("\n", "").encode()


def test_the_statement() -> None:
    """The example is a statement whose digest is that of the call it shows."""
    statement = parse_statement(_statement())
    assert statement.encode() == _statement()
    assert statement.call.digest() == json.loads(_statement())["call_digest"]


def test_the_statement_with_its_risk() -> None:
    """Version 2 is version 1 with what the score is made of, and the hosts, which are part of what
    is approved; neither poses as the other.
    """
    data = fenced(PAGE, "json")[1].replace("\n", "").encode()
    statement = parse_statement(data)
    assert statement.encode() == data
    assert statement.risk == json.loads(data)["risk"]
    assert statement.call.hosts == ()
    assert statement.call.digest() == json.loads(data)["call_digest"]
    for posing in (
        data.replace(b'"v":2', b'"v":1'),
        _statement().replace(b'"v":1', b'"v":2'),
        _statement().replace(b'"notes"},', b'"notes"},"hosts":[],'),
        data.replace(b'"v":2', b'"v":3'),
        data.replace(b'"hosts":[]', b'"hosts":["example.com"]'),
        data.replace(b'"hosts":[],', b""),
    ):
        with pytest.raises(StatementError):
            parse_statement(posing)


def test_the_answer() -> None:
    """The signed message of a yes to it is as shown."""
    expected = fenced(PAGE, "hex")[0].strip()
    message = answer_bytes(_statement(), approve=True, reason="fine")
    assert message.hex() == expected
    assert message.startswith(b"stockade/approval-answer/v1")
    assert len(message) == 27 + 32


def test_the_export_and_its_receipt() -> None:
    """The first line of the fixture has the digest shown, by the formula shown."""
    first = (FIXTURES / "ledger-v1.ndjson").read_bytes().splitlines(keepends=True)[0]
    entry = parse_line(first).entry
    assert entry.digest.hex() == fenced(PAGE, "hex")[1].strip()
    assert digest_of(entry.canonical) == entry.digest
    assert encode_line(entry) == first
    keys = parse_public((FIXTURES / "ledger-v1.pub").read_bytes())
    assert keys.verifies_ed25519(message_of(entry.digest), entry.signature)


def test_the_checkpoint() -> None:
    """The root over the fixture's entries is the one shown, signed and recomputed."""
    keys = parse_public((FIXTURES / "ledger-v1.pub").read_bytes())
    checkpoint = parse_checkpoint((FIXTURES / "checkpoint-v1.note").read_bytes(), keys)
    shown = base64.b64decode(fenced(PAGE, "base64")[0])
    lines = (FIXTURES / "ledger-v1.ndjson").read_bytes().splitlines(keepends=True)
    tree = CompactRange()
    for line in lines:
        tree.append(parse_line(line).entry.digest)
    assert checkpoint.root == tree.root() == shown
    assert verify(lines, keys, checkpoint).covered == len(lines)


def test_the_pairing_code_and_its_proof() -> None:
    """The example of docs/pairing.md, both ways."""
    example = json.loads(fenced(read("docs/pairing.md"), "json")[0])
    code = PairingCode(
        example["address"],
        bytes.fromhex(example["certificate_fingerprint"]),
        bytes.fromhex(example["secret"]),
    )
    assert code.text() == example["code"]
    assert parse_pairing_code(example["code"]) == code
    assert code.invitation_id == example["invitation_id"]
    assert code.proof(bytes.fromhex(example["key_fingerprint"])).hex() == example["proof"]
    assert words(example["key_fingerprint"]) == example["words"]


def _sized(part: bytes) -> bytes:
    return len(part).to_bytes(8, "big") + part


def test_the_policy_digest() -> None:
    """The digest of a state is as documented, computed without this project's code."""
    data = fenced(PAGE, "json")[-1].replace("\n", "").encode()
    parsed = parse_entity_data(data)
    parts = _sized(b"00" * 32) + _sized(data)
    state = hashlib.sha256(b"stockade policy state v1\n" + parts).hexdigest()
    assert state == state_digest("00" * 32, parsed) == fenced(PAGE, "hex")[-1].strip()
    files = {"b.cedar": "// b", "a.cedar": "// a"}
    schema = load_base()
    written = b"".join(
        _sized(part.encode()) for name in sorted(files) for part in (name, files[name])
    )
    count = len(files).to_bytes(8, "big")
    expected = hashlib.sha256(
        b"stockade policy bundle v1\n" + count + written + _sized(schema.encode())
    ).hexdigest()
    assert Bundle.build(files, schema).digest == expected
