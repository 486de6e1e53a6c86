"""One line of an export."""

import base64
import contextlib
import io
import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ledger.chain import Chain
from ledger.errors import Fault, LedgerError, LineError
from ledger.export import MAX_LINE, encode_line, parse_line, read_lines
from ledger.receipt import MAX_RECEIPT

from .specimen import KEYS, START_MS, extend, ledger, line_of, uuid7

ENTRY = ledger(2)[1]
LINE = encode_line(ENTRY)


def fields() -> dict[str, Any]:
    value = json.loads(LINE)
    assert isinstance(value, dict)
    return value


def fault(line: bytes) -> str:
    with pytest.raises(LineError) as caught:
        parse_line(line)
    return caught.value.code


def test_a_line_is_canonical_and_read_back() -> None:
    """A line is the canonical JSON of its fields, and gives back the entry it was made of."""
    assert line_of(fields()) == LINE
    assert parse_line(LINE).entry == ENTRY
    assert parse_line(LINE.rstrip(b"\n")).entry == ENTRY
    assert LINE.count(b"\n") == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'{"digest"', b' {"digest"'),
        (b'"receipt":', b'"receipt": '),
        (b"}\n", b"} \n"),
        (b"}\n", b"}\r\n"),
        (b"}\n", b"}\n\n"),
        (b'"lease":null', b'"lease":null,"lease":null'),
        (b'"allowed":true', b'"allowed":false,"allowed":true'),
        (b'"v":1}', b'"v":1,"v":1}'),
        (b'"seq":2', b'"seq":1,"seq":2'),
        (b'{"digest"', b'{"sig":"","digest"'),
        (b'{"digest"', b'{"receipt":{},"digest"'),
        (b'"agent/builder"', b'"agent\\/builder"'),
        (b'"agent/builder"', b'"\\u0061gent/builder"'),
        ("naïve".encode(), b"na\\u00efve"),
        ("😀".encode(), b"\\ud83d\\ude00"),
        (b'"allowed":true,', b""),  # moved to the end of the body
        (b"\\n", b"\\u000a"),
        (b'"call":', b'"c\\u0061ll":'),
    ],
)
def test_right_values_in_wrong_bytes_are_refused(old: bytes, new: bytes) -> None:
    """White space, order, duplicate keys and needless escapes mean the same, and are refused."""
    assert old in LINE
    line = LINE.replace(old, new, 1)
    if not new:
        line = line.replace(b'"tag":""', b'"tag":"","allowed":true', 1)
    assert fault(line) == Fault.NOT_CANONICAL


@pytest.mark.parametrize(
    "number", [b"1.0", b"1e0", b"1.5", b"-0", b"0.0", b"9007199254740992", b"1e400", b"-1e-400"]
)
def test_numbers_that_readers_disagree_on_are_refused(number: bytes) -> None:
    """Floats, exponents, minus zero and integers beyond 2^53 are refused in any place."""
    for place in (b'"number":1', b'"score_milli":420', b'"seq":2'):
        line = LINE.replace(place, place.split(b":")[0] + b":" + number, 1)
        assert fault(line) in {Fault.MALFORMED, Fault.NOT_CANONICAL}


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"null\n",
        b"[]\n",
        b"{}\n",
        b"\xef\xbb\xbf" + LINE,
        b"\x00" + LINE,
        LINE[:-2] + b"\n",
        LINE[1:],
        LINE + LINE,
        LINE.replace(b'"number":1', b'"number":NaN'),
        LINE.replace(b'"number":1', b'"number":Infinity'),
        LINE.replace(b'"number":1', b'"number":01'),
        LINE.replace(b'"number":1', b'"number":"\\ud800"'),
        LINE.replace(b'"number":1', b'"number":"\xed\xa0\x80"'),
        LINE.replace(b'"number":1', b'"number":"\xc0\x80"'),
        LINE.replace(b'"number":1', b'"number":"\x01"'),
        LINE.replace(b'"number":1', b'"number":' + b"[" * 3000 + b"]" * 3000),
        LINE.replace(b'"number":1', b'"number":' + b"[" * 100 + b"]" * 100),
        LINE.replace(b'"number":1', b"'number':1"),
        LINE.replace(b'"number":1', b'"number":1,'),
        LINE.replace(b'"number":1', b'"number":1/**/'),
    ],
)
def test_what_is_not_strict_json_is_refused(line: bytes) -> None:
    """NaN, lone surrogates, overlong UTF-8, comments, BOM, deep nesting: refused."""
    assert fault(line) == Fault.MALFORMED


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("digest", ENTRY.digest.hex().upper()),
        ("digest", ENTRY.digest.hex() + "00"),
        ("digest", ENTRY.digest.hex()[:-1] + "g"),
        ("digest", None),
        ("digest", 1),
        ("sig", base64.b64encode(ENTRY.signature).decode().rstrip("=")),
        ("sig", base64.b64encode(ENTRY.signature[:-1]).decode()),
        ("sig", base64.b64encode(ENTRY.signature + b"\0").decode()),
        ("sig", base64.urlsafe_b64encode(b"\xff" * 64).decode()),
        ("sig", " " + base64.b64encode(ENTRY.signature).decode()),
        ("sig", ""),
        ("sig", "é"),
        ("sig", None),
        ("sig", []),
        ("receipt", None),
        ("receipt", "{}"),
        ("receipt", []),
        ("extra", 1),
        ("Digest", "x"),
        ("digest ", "x"),
    ],
)
def test_every_field_has_one_form(name: str, value: object) -> None:
    """A field of another type or form, and any field more, is refused."""
    assert fault(line_of({**fields(), name: value})) == Fault.MALFORMED


@pytest.mark.parametrize("name", ["digest", "receipt", "sig"])
def test_no_field_may_be_missing(name: str) -> None:
    """A line without one of its fields is refused."""
    value = fields()
    del value[name]
    assert fault(line_of(value)) == Fault.MALFORMED


def test_base64_has_one_text() -> None:
    """The bits behind the last byte are zero: no second text for one signature."""
    value = fields()
    assert value["sig"].endswith("==")
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    twin = letters[letters.index(value["sig"][-3]) + 1]
    value["sig"] = value["sig"][:-3] + twin + "=="
    assert base64.b64decode(value["sig"]) == ENTRY.signature
    assert fault(line_of(value)) == Fault.MALFORMED


def test_a_line_is_bounded() -> None:
    """The largest receipt fits a line; a line longer than 1 MiB is not even parsed."""
    chain = Chain("alpha", KEYS.signer(), None)
    bare = len(extend(chain, 1)[0].canonical)
    chain.rewind(None)
    fixed = len(chain.append("k", {"x": ""}, receipt_id=uuid7(1), now_ms=START_MS).canonical)
    chain.rewind(None)
    body = {"x": "x" * (MAX_RECEIPT - fixed)}
    entry = chain.append("k", body, receipt_id=uuid7(1), now_ms=START_MS)
    assert bare < len(entry.canonical) == MAX_RECEIPT
    line = encode_line(entry)
    assert len(line) <= MAX_LINE
    assert parse_line(line).entry == entry
    assert fault(b" " * (MAX_LINE + 1)) == Fault.OVERSIZE
    padded = LINE.rstrip(b"\n") + b" " * MAX_LINE
    assert fault(padded) == Fault.OVERSIZE


def test_reading_never_holds_more_than_a_line() -> None:
    """A file without newlines is cut off at one line's bound, and reading ends there."""
    lines = list(read_lines(io.BytesIO(LINE + b"x" * (3 * MAX_LINE) + b"\n" + LINE)))
    assert [len(line) for line in lines] == [len(LINE), MAX_LINE + 1]
    assert list(read_lines(io.BytesIO(LINE + LINE[:-1]))) == [LINE, LINE[:-1]]
    assert list(read_lines(io.BytesIO())) == []


def test_errors_do_not_repeat_the_line() -> None:
    """Text of an untrusted line reaches no message and no cause: it may hold terminal escapes."""
    for line in (b'{"sek\\u001b[2J', LINE.replace(b'"kind":"', b'"kind":"sek ')):
        with pytest.raises(LineError) as caught:
            parse_line(line)
        error: BaseException | None = caught.value
        while error is not None:
            assert "sek" not in str(error)
            error = error.__cause__


@given(st.binary(max_size=300))
@example(b'{"digest":1,"receipt":1,"sig":1}')
def test_arbitrary_bytes_give_one_error(data: bytes) -> None:
    """Whatever the bytes, the error is of this package."""
    for line in (data, LINE[:-2] + data, data + LINE, LINE.replace(b'"number":1', data)):
        try:
            parsed = parse_line(line)
        except LedgerError:
            continue
        assert encode_line(parsed.entry) == line.removesuffix(b"\n") + b"\n"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.sampled_from(["digest", "receipt", "sig"]), JSON)
def test_any_json_in_any_field_gives_one_error(name: str, value: object) -> None:
    """Whatever JSON value stands in a field, the error is of this package."""
    fault(json.dumps({**fields(), name: value}).encode())


@given(st.sampled_from(sorted(fields()["receipt"])), JSON)
def test_any_json_in_any_header_field_gives_one_error(name: str, value: object) -> None:
    """Whatever JSON value stands in a header field, the error is of this package."""
    receipt = {**fields()["receipt"], name: value}
    with contextlib.suppress(LineError):
        parse_line(json.dumps({**fields(), "receipt": receipt}).encode())
