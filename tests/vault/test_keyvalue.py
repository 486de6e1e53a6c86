"""A field of an answer of the KV engine, or an error that does not repeat it."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.errors import Code, SourceError
from vault.keyvalue import parse_answer


def answer(data: object, version: object = 3) -> bytes:
    return json.dumps({"data": {"data": data, "metadata": {"version": version}}}).encode()


@given(st.dictionaries(st.text(), st.text(), min_size=1), st.integers(1, 2**31))
def test_each_field_is_read_with_its_version(data: dict[str, str], version: int) -> None:
    """Whatever the text."""
    for field, value in data.items():
        read = parse_answer(answer(data, version), field)
        assert read is not None
        assert (read[0], read[1].reveal()) == (version, value.encode())


def test_an_absent_field_has_no_value() -> None:
    """Nor has one that is null."""
    assert parse_answer(answer({"a": "b", "n": None}), "c") is None
    assert parse_answer(answer({"a": "b", "n": None}), "n") is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'"text"',
        b"{}",
        b'{"data": null}',
        b'{"data": {"data": null, "metadata": {"version": 1}}}',
        b'{"data": {"data": "secret", "metadata": {"version": 1}}}',
        answer({"a": "secret"}, 0),
        answer({"a": "secret"}, True),
        answer({"a": "secret"}, "1"),
        answer({"a": ["secret"]}),
        answer({"a": 12345}),
        # the first version of the engine, which has no versions
        b'{"data": {"a": "secret"}}',
    ],
)
def test_another_answer_is_refused(body: bytes) -> None:
    """By a reason, without a word of what it said."""
    with pytest.raises(SourceError) as caught:
        parse_answer(body, "a")
    assert caught.value.code is Code.SOURCE_MALFORMED
    assert "secret" not in str(caught.value)
    assert "12345" not in str(caught.value)


@given(st.binary(max_size=60))
def test_no_other_error_leaves(body: bytes) -> None:
    """Whatever the bytes."""
    with contextlib.suppress(SourceError):
        parse_answer(body, "a")
