"""Canonical JSON: one value, one byte string."""

import enum
import types
from datetime import UTC, datetime

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from ledger.canonical import MAX_DEPTH, MAX_INTEGER, encode
from ledger.errors import ReceiptError

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
# Keys in the ranges where UTF-8 and UTF-16 order differ, as well as everyday ones.
KEYS = TEXT | st.text(st.sampled_from("aZ09_.\x00\x7f\ue000\uffff\U00010000\U0010ffff"), max_size=3)
SCALARS = st.none() | st.booleans() | st.integers(-MAX_INTEGER, MAX_INTEGER) | TEXT


def values(keys: st.SearchStrategy[str]) -> st.SearchStrategy[object]:
    return st.recursive(
        SCALARS, lambda inner: st.lists(inner) | st.dictionaries(keys, inner), max_leaves=20
    )


@given(values(KEYS))
def test_encoding_equals_the_reference_for_every_value(value: object) -> None:
    """Whatever path encoded it, the bytes are those of the rfc8785 library."""
    assert encode(value) == rfc8785.dumps(value)  # type: ignore[arg-type]


@given(values(st.text(st.characters(max_codepoint=127))))
def test_fast_path_equals_the_reference_for_ascii_keys(value: object) -> None:
    """Where keys are ASCII, orjson alone gives the bytes of the rfc8785 library."""
    expected = rfc8785.dumps(value)  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ledger.canonical.rfc8785.dumps", lambda _: pytest.fail("not the fast path"))
        assert encode(value) == expected


def test_every_character_is_escaped_as_the_reference_does() -> None:
    """Every character there is, control characters first, has the reference's bytes."""
    every = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)]))
    assert encode({"k": every}) == rfc8785.dumps({"k": every})


def test_keys_sort_by_utf16() -> None:
    """U+10000 sorts before U+E000 (RFC 8785, 3.2.3), which UTF-8 order would turn round."""
    assert encode({"\ue000": 1, "\U00010000": 2}) == '{"\U00010000":2,"\ue000":1}'.encode()


def test_read_only_mapping_is_a_mapping() -> None:
    """A mapping need not be a dict."""
    assert encode(types.MappingProxyType({"b": 1, "a": [True]})) == b'{"a":[true],"b":1}'


class _Colour(enum.StrEnum):
    RED = "red"


class _Number(enum.IntEnum):
    ONE = 1


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (0.0, "FLOAT"),
        (1.0, "FLOAT"),
        (float("nan"), "FLOAT"),
        (float("inf"), "FLOAT"),
        (MAX_INTEGER + 1, "INTEGER_RANGE"),
        (-MAX_INTEGER - 1, "INTEGER_RANGE"),
        (10**400, "INTEGER_RANGE"),
        (b"bytes", "TYPE"),
        ((1, 2), "TYPE"),
        ({1, 2}, "TYPE"),
        (datetime(2025, 1, 1, tzinfo=UTC), "TYPE"),
        (_Colour.RED, "TYPE"),
        (_Number.ONE, "TYPE"),
        (object(), "TYPE"),
        ("\ud800", "NOT_UNICODE"),
        ("a\udfff", "NOT_UNICODE"),
    ],
)
def test_what_has_no_one_form_is_refused(value: object, code: str) -> None:
    """A float, a subclass, another type or a lone surrogate is refused wherever it stands."""
    for wrapped in (value, [value], {"k": value}, {"k": [{"é": value}]}):
        with pytest.raises(ReceiptError) as caught:
            encode(wrapped)
        assert caught.value.code == code


@pytest.mark.parametrize("key", [1, None, True, b"k", 1.0, _Colour.RED])
def test_only_strings_are_keys(key: object) -> None:
    """A key that is not a plain string is refused, not converted."""
    with pytest.raises(ReceiptError, match="TYPE"):
        encode({key: 1})


@pytest.mark.parametrize("mapping", [{"\ud800": 1}, {"é": 1, "\udc00x": 2}])
def test_lone_surrogate_in_a_key_is_refused(mapping: object) -> None:
    """Both encoders' different complaints end as one error."""
    with pytest.raises(ReceiptError, match="NOT_UNICODE"):
        encode(mapping)


def test_nesting_is_bounded() -> None:
    """The deepest nesting allowed encodes; one more, or a cycle, is refused."""
    value: object = 1
    for _ in range(MAX_DEPTH):
        value = [value]
    encode(value)
    with pytest.raises(ReceiptError, match="TOO_DEEP"):
        encode([value])
    cycle: list[object] = []
    cycle.append(cycle)
    with pytest.raises(ReceiptError, match="TOO_DEEP"):
        encode(cycle)
