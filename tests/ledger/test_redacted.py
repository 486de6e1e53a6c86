"""Receipts of calls of which a redacted copy is kept: their form, and whoever edits the copy."""

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest

from ledger.account import account, as_html, as_text
from ledger.canonical import encode
from ledger.errors import EvidenceError
from ledger.evidence import Evidence, verify_evidence

from .specimen import PUBLIC

LINES = (
    (Path(__file__).parent / "fixtures" / "evidence-redacted-v1.ndjson")
    .read_bytes()
    .splitlines(keepends=True)
)
DOCUMENT = next(number for number, line in enumerate(LINES) if b'"document":' in line)
# What the fixture was made with: what a caller has who wants to show what the call was.
SALT = bytes(range(32))
TRUE = b'{"n":1,"pin":"4711","url":"https://example.org/?key=hunter2hunter2"}'
COPY = (
    b'{"n":1,"pin":"[redacted string: schema]","url":"https://example.org/?key=[redacted:api-key]"}'
)


def found() -> Evidence:
    return verify_evidence(LINES, PUBLIC)


def body(place: int) -> Any:
    return found().receipts[place].body


def test_the_copy_is_what_the_receipt_names() -> None:
    """SHA-256 over the copy's bytes, in a receipt of version 1: a new field needs no other."""
    assert found().documents[hashlib.sha256(COPY).hexdigest()]["text"] == COPY.decode()
    assert body(0)["redacted_arguments_digest"] == hashlib.sha256(COPY).hexdigest()
    assert json.loads(LINES[1])["entry"]["receipt"]["v"] == 1


def test_who_has_the_salt_can_show_what_the_call_was() -> None:
    """HMAC-SHA256 under the salt, over what it is, a NUL and the bytes."""

    def salted(what: bytes, data: bytes) -> str:
        return hmac.new(SALT, what + b"\0" + data, "sha256").hexdigest()

    assert body(0)["arguments_salted_digest"] == salted(b"arguments", TRUE)
    assert body(2)["stdout"]["salted_digest"] == salted(b"stdout", b"4711\n")
    assert body(2)["stderr"]["salted_digest"] == salted(b"stderr", b"")


def test_without_the_salt_every_pin_is_as_good_as_another() -> None:
    """Nothing in the evidence is a digest of the true arguments, whatever is tried."""
    everything = b"".join(LINES)
    for tried in (TRUE, TRUE[5:], b"4711", b"hunter2hunter2"):
        for prefix in (b"", b"arguments\0", b"stockade.arguments.v1\0"):
            assert hashlib.sha256(prefix + tried).hexdigest().encode() not in everything


def test_the_account_says_that_it_is_a_copy() -> None:
    """In both forms, with the digest of what was."""
    said = f"redacted copy; the true input has digest {body(0)['arguments_salted_digest']} (salted)"
    chapters = account(found())
    assert said in as_text(chapters)
    assert said in as_html(chapters)


@pytest.mark.parametrize(
    "document",
    [
        {"what": "redacted-arguments", "text": COPY.decode().replace("1", "2", 1)},
        {"what": "redacted-arguments", "text": COPY.decode() + " "},
        {"what": "redacted-arguments", "text": TRUE.decode()},
        {"what": "arguments", "text": COPY.decode()},
        {"what": "statement", "text": COPY.decode()},
    ],
)
def test_another_copy_is_named(document: dict[str, str]) -> None:
    """Edited by a digit, by a space, unredacted; or passed off for what it is not."""
    lines = list(LINES)
    lines[DOCUMENT] = encode({"document": document}) + b"\n"
    with pytest.raises(EvidenceError) as refused:
        verify_evidence(lines, PUBLIC)
    assert refused.value.code == "DOCUMENT"
    assert document["what"] in str(refused.value)


def test_a_copy_that_was_pruned_leaves_evidence_that_verifies() -> None:
    """And the account says that it is not there."""
    lines = [line for line in LINES if b'"document":' not in line]
    lines[-1] = lines[-1].replace(b'"documents":1', b'"documents":0')
    assert "the copy is not in this evidence" in as_text(account(verify_evidence(lines, PUBLIC)))


def _edits(value: Any) -> list[Any]:
    """The value with one thing in it changed, for each that can be."""
    if isinstance(value, dict):
        return [
            {**value, name: edited} for name, one in value.items() for edited in _edits(one)
        ] + [{name: one for name, one in value.items() if name != gone} for gone in value]
    if isinstance(value, list):
        return [
            [*value[:at], edited, *value[at + 1 :]]
            for at, one in enumerate(value)
            for edited in _edits(one)
        ] + [value[1:]]
    return [value + 1] if isinstance(value, int) else ["x", value + "x" if value else 1]


ARRIVAL = json.loads(LINES[1])


@pytest.mark.parametrize("edited", _edits(ARRIVAL["entry"]["receipt"]["body"]))
def test_every_edit_of_the_new_fields_is_found(edited: Any) -> None:
    """Each field of the arrival, each place in the list of what was taken out."""
    line = json.loads(LINES[1])
    line["entry"]["receipt"]["body"] = edited
    with pytest.raises(EvidenceError):
        verify_evidence([LINES[0], encode(line) + b"\n", *LINES[2:]], PUBLIC)
