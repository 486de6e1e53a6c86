"""The receipt format."""

import dataclasses
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.canonical import encode
from ledger.errors import ReceiptError
from ledger.receipt import (
    MAX_RECEIPT,
    NO_PREVIOUS,
    Receipt,
    digest_of,
    format_time,
    message_of,
    parse_receipt,
    parse_time,
)

from .specimen import BODY, uuid7

RECEIPT = Receipt(
    "alpha", 2, uuid7(1), "2025-06-15T15:06:40.000Z", "call.permitted", bytes([9]) * 32, BODY
)


def fields() -> dict[str, object]:
    return {
        "v": 1,
        "chain": "alpha",
        "seq": 2,
        "id": uuid7(1),
        "time": "2025-06-15T15:06:40.000Z",
        "kind": "call.permitted",
        "prev": "09" * 32,
        "body": dict(BODY),
    }


def test_a_receipt_has_one_encoding() -> None:
    """The bytes are the canonical JSON of exactly the header fields and the body."""
    assert RECEIPT.canonical() == encode(fields())
    assert parse_receipt(fields()) == dataclasses.replace(RECEIPT, body=dict(BODY))


def test_clock_behind_is_in_the_header_only_where_it_was() -> None:
    """`clock_behind_ms` is a header field when set, and absent (never null) when not."""
    behind = dataclasses.replace(RECEIPT, clock_behind_ms=7)
    assert behind.canonical() == encode({**fields(), "clock_behind_ms": 7})
    assert parse_receipt({**fields(), "clock_behind_ms": 7}).clock_behind_ms == 7
    with pytest.raises(ReceiptError, match="TIME"):
        parse_receipt({**fields(), "clock_behind_ms": None})


def test_digest_and_message_are_domain_separated() -> None:
    """A receipt's digest is no plain SHA-256, and what is signed is no plain digest."""
    assert digest_of(b"x") == hashlib.sha256(b"stockade.ledger/receipt/v1\x00x").digest()
    assert message_of(b"d") == b"stockade.ledger/receipt-signature/v1\x00d"


BAD_HEADERS: list[tuple[str, object]] = [
    ("v", 0),
    ("v", 2),
    ("v", "1"),
    ("v", True),
    ("v", None),
    ("chain", ""),
    ("chain", "Alpha"),
    ("chain", "a b"),
    ("chain", "a+b"),
    ("chain", "a/b"),
    ("chain", "a\n"),
    ("chain", "\N{CYRILLIC SMALL LETTER A}lpha"),
    ("chain", "a" * 64),
    ("chain", 1),
    ("seq", 0),
    ("seq", -1),
    ("seq", True),
    ("seq", "2"),
    ("seq", 2**53),
    ("seq", None),
    ("id", uuid7(1).upper()),
    ("id", "0197a3a0-0000-4000-8000-000000000001"),
    ("id", "0197a3a0-0000-7000-c000-000000000001"),
    ("id", "{" + uuid7(1) + "}"),
    ("id", uuid7(1) + "\n"),
    ("id", 7),
    ("time", "2025-06-15T15:06:40Z"),
    ("time", "2025-06-15T15:06:40.000+00:00"),
    ("time", "2025-06-15T15:06:40.000z"),
    ("time", "2025-06-15 15:06:40.000Z"),
    ("time", "2025-02-30T15:06:40.000Z"),
    ("time", "2025-06-15T24:00:00.000Z"),
    ("time", "2025-06-15T23:59:60.000Z"),
    ("time", "1969-12-31T23:59:59.999Z"),
    ("time", "٢٠٢٥-06-15T15:06:40.000Z"),
    ("time", 1),
    ("kind", ""),
    ("kind", "call permitted"),
    ("kind", "call\n"),
    ("kind", "k" * 65),
    ("kind", "naïve"),
    ("kind", None),
    ("prev", "0" * 64),
    ("prev", "09" * 31),
    ("prev", "0A" * 32),
    ("prev", 0),
    ("body", []),
    ("body", None),
    ("body", "x"),
    ("clock_behind_ms", 0),
    ("clock_behind_ms", -5),
    ("clock_behind_ms", True),
    ("clock_behind_ms", "5"),
    ("extra", 1),
    ("V", 1),
]


@pytest.mark.parametrize(("name", "value"), BAD_HEADERS)
def test_every_header_field_has_one_form(name: str, value: object) -> None:
    """A header field of another type or form is refused, as is one that is not known."""
    with pytest.raises(ReceiptError):
        parse_receipt({**fields(), name: value})


@pytest.mark.parametrize("name", sorted(fields()))
def test_no_header_field_may_be_missing(name: str) -> None:
    """A receipt without one of its fields is refused."""
    value = fields()
    del value[name]
    with pytest.raises(ReceiptError, match="FIELDS"):
        parse_receipt(value)


@pytest.mark.parametrize("value", [None, [], "x", 1, [fields()]])
def test_a_receipt_is_an_object(value: object) -> None:
    """Any other JSON value is refused."""
    with pytest.raises(ReceiptError, match="FIELDS"):
        parse_receipt(value)


@pytest.mark.parametrize("version", [-1, 0, 2, 99])
def test_unknown_version_is_named(version: int) -> None:
    """Another version is refused as such, whatever else its header holds."""
    with pytest.raises(ReceiptError) as caught:
        parse_receipt({"v": version, "anything": []})
    assert caught.value.code == "VERSION"


def test_only_the_first_entry_has_no_previous() -> None:
    """A first entry that names another, or a later one that names none, is refused."""
    for sequence, prev in ((1, bytes([9]) * 32), (2, NO_PREVIOUS)):
        with pytest.raises(ReceiptError, match="PREV"):
            dataclasses.replace(RECEIPT, sequence=sequence, prev=prev).canonical()


def test_size_is_bounded() -> None:
    """The largest receipt encodes; one byte more is refused."""
    bare = len(dataclasses.replace(RECEIPT, body={"x": ""}).canonical())
    fill = "x" * (MAX_RECEIPT - bare)
    assert len(dataclasses.replace(RECEIPT, body={"x": fill}).canonical()) == MAX_RECEIPT
    with pytest.raises(ReceiptError, match="TOO_LARGE"):
        dataclasses.replace(RECEIPT, body={"x": fill + "x"}).canonical()


def test_the_body_is_not_in_the_repr() -> None:
    """A traceback or log line that shows a receipt does not show what it records."""
    assert "builder" not in repr(RECEIPT)


@given(st.integers(0, 253_402_300_799_999))
def test_time_has_one_text(milliseconds: int) -> None:
    """Every moment is written in one form and read back exactly."""
    text = format_time(milliseconds)
    assert len(text) == 24
    assert parse_time(text) == milliseconds


@given(st.integers(0, 253_402_300_799_999), st.integers(0, 253_402_300_799_999))
def test_text_order_is_time_order(one: int, two: int) -> None:
    """Times compare as texts exactly as they do as moments."""
    assert (format_time(one) < format_time(two)) == (one < two)


@pytest.mark.parametrize("milliseconds", [-1, 253_402_300_800_000, 1.5, True])
def test_a_time_outside_the_calendar_is_refused(milliseconds: int) -> None:
    """A clock that cannot be right is refused rather than written down."""
    with pytest.raises(ReceiptError, match="TIME"):
        format_time(milliseconds)
