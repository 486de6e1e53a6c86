"""Evidence of what a call wrote: its form, what is shown of it, and whoever edits it."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from ledger.account import account, as_html, as_text, written
from ledger.canonical import encode
from ledger.errors import EvidenceError
from ledger.evidence import verify_evidence

from .specimen import PUBLIC

LINES = (
    (Path(__file__).parent / "fixtures" / "evidence-output-v1.ndjson")
    .read_bytes()
    .splitlines(keepends=True)
)
FIRST = next(number for number, line in enumerate(LINES) if b'"document":' in line)
OUT = b"na\xc3\xafve\n\x1b[2J\xff<b>\n"


def changed(number: int, line: object) -> list[bytes]:
    return [*LINES[:number], encode(line) + b"\n", *LINES[number + 1 :]]


def test_the_digests_are_what_the_end_names() -> None:
    """Each of its stream, by the formula; that of the whole is there as ever."""

    def digest(*parts: bytes) -> str:
        sized = (len(part).to_bytes(8, "big") + part for part in (b"stockade/output/v1", *parts))
        return hashlib.sha256(b"".join(sized)).hexdigest()

    end: Any = verify_evidence(LINES, PUBLIC).receipts[2].body
    assert end["stdout"]["kept_digest"] == digest(OUT, bytes(8), b"")
    between = (4096).to_bytes(8, "big")
    assert end["stderr"]["kept_digest"] == digest(b"begun ", between, b" ended\n")
    assert end["stdout"]["digest"] == f"sha256:{hashlib.sha256(OUT).hexdigest()}"
    whole = b"begun " + b"x" * 4096 + b" ended\n"
    assert end["stderr"]["digest"] == f"sha256:{hashlib.sha256(whole).hexdigest()}"


def test_the_account_says_how_much_it_is_and_obeys_nothing_in_it() -> None:
    """Bytes that are no text, escapes and markup are shown as such, in both forms."""
    chapters = account(verify_evidence(LINES, PUBLIC))
    text, page = as_text(chapters), as_html(chapters)
    assert "    wrote to stdout: 16 bytes, all of it\n      | naïve\n" in text
    assert "      | \\x1b[2J\\xff<b>\n" in text
    assert "\\x1b[2J\\xff&lt;b&gt;" in page
    assert "first 6 and last 7 bytes; 4096 between are not kept" in text
    assert "      | begun \n      | [4096 bytes are not kept]\n      |  ended\n" in text
    assert "\x1b" not in text + page


def test_what_was_pruned_leaves_evidence_that_verifies() -> None:
    """And the account says that it is not there."""
    lines = [line for line in LINES if b'"document":' not in line]
    lines[-1] = lines[-1].replace(b'"documents":2', b'"documents":0')
    found = verify_evidence(lines, PUBLIC)
    assert [one.document for one in written(found)] == [None, None]
    assert as_text(account(found)).count("what was kept of it is not in this evidence") == 2


@pytest.mark.parametrize(
    "document",
    [
        {"start": base64.b64encode(OUT + b" ").decode(), "end": "", "left_out": 0},
        {"start": base64.b64encode(OUT).decode(), "end": "", "left_out": 1},
        {"start": base64.b64encode(OUT[:-1]).decode(), "end": "", "left_out": 0},
        {"start": "YmVndW4g", "end": "IGVuZGVkCg==", "left_out": 4095},
        {"start": "YmVndW4=", "end": "ICBlbmRlZAo=", "left_out": 4096},
        {"start": base64.b64encode(OUT).decode(), "end": ""},
    ],
)
def test_another_output_is_named(document: dict[str, Any]) -> None:
    """By a byte, by how much there was between, by a byte from one part to the other."""
    for number in (FIRST, FIRST + 1):
        with pytest.raises(EvidenceError) as refused:
            verify_evidence(changed(number, {"document": {"what": "output", **document}}), PUBLIC)
        assert refused.value.code == "DOCUMENT"


def test_one_stream_is_not_the_other() -> None:
    """Swapped in the receipt, the receipt is not the one that was signed."""
    line = json.loads(LINES[3])
    body = line["entry"]["receipt"]["body"]
    body["stdout"], body["stderr"] = body["stderr"], body["stdout"]
    with pytest.raises(EvidenceError):
        verify_evidence(changed(3, line), PUBLIC)


def test_a_document_is_of_its_sort() -> None:
    """Output passed off as arguments, or arguments as output, is named by no receipt."""
    for document in (
        {"what": "arguments", "text": "na"},
        {"what": "redacted-arguments", "text": ""},
    ):
        with pytest.raises(EvidenceError) as refused:
            verify_evidence(changed(FIRST, {"document": document}), PUBLIC)
        assert refused.value.code == "DOCUMENT"
