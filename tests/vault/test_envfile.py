"""An environment file gives a value that everybody would read so, or none."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.envfile import parse_environment
from vault.errors import Code, SourceError

NAMES = st.from_regex(r"[A-Z_][A-Z0-9_]{0,9}", fullmatch=True)
VALUES = st.binary(max_size=40).filter(lambda value: not set(value) & set(b"\n'\"\\"))


@given(st.dictionaries(NAMES, VALUES, min_size=1), st.sampled_from([b"'", b'"']))
def test_what_is_written_is_read(values: dict[str, bytes], quote: bytes) -> None:
    """Whatever the bytes, between quotes they come back as they are, and each by its own name."""
    lines = [name.encode() + b"=" + quote + value + quote for name, value in values.items()]
    content = b"\n".join([b"# a comment", b"", *lines])
    for name, value in values.items():
        found = parse_environment(content, name)
        assert found is not None
        assert found.reveal() == value


@pytest.mark.parametrize(
    ("line", "value"),
    [
        (b"A=b", b"b"),
        (b"  A=b c \r", b"b c"),
        (b"A=b # c", b"b # c"),
        (b"A=$HOME`id`", b"$HOME`id`"),
        (b"A='$X \\n \"'", b'$X \\n "'),
        (b'A="it\'s"', b"it's"),
        (b"A=", b""),
        (b"A=b=c", b"b=c"),
        (b"A=b'c", b"b'c"),
    ],
)
def test_nothing_is_expanded(line: bytes, value: bytes) -> None:
    """Variables, commands and escapes are text."""
    found = parse_environment(line, "A")
    assert found is not None
    assert found.reveal() == value


@pytest.mark.parametrize(
    "line",
    [
        b"A",
        b"export A=b",
        b"A =b",
        b"1A=b",
        b"A='b",
        b"A='",
        b"A='b'c",
        b"A='b'c'",
        b'A="b\\n"',
        b'A="b" # c',
        b"B=first",
        b"\xff=b",
    ],
)
def test_what_others_would_read_otherwise_is_not_read(line: bytes) -> None:
    """The whole file is unusable, also for another name; the error names the line alone."""
    with pytest.raises(SourceError) as caught:
        parse_environment(b"B=secret\n" + line + b"\n", "B")
    assert caught.value.code is Code.SOURCE_MALFORMED
    assert "line 2 " in caught.value.message
    assert "secret" not in str(caught.value)


def test_a_name_that_is_not_there_has_no_value() -> None:
    """Names are compared whole, and their case counts."""
    assert parse_environment(b"AB=1\na=2\n", "A") is None


@given(st.binary(max_size=80))
def test_no_other_error_leaves(content: bytes) -> None:
    """Whatever the bytes: a value, none, or the error of this package."""
    with contextlib.suppress(SourceError):
        parse_environment(content, "A")
