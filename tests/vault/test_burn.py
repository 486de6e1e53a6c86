"""Overwriting immutable objects."""

import ctypes
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault import burn as module
from vault.burn import burn


def test_the_layout_is_the_expected_one() -> None:
    """On this interpreter contents are found and overwritten; a build without it would say so."""
    assert module.WORKS


@given(st.binary(min_size=2))
def test_bytes_are_zero_afterwards(data: bytes) -> None:
    """Every byte, and nothing beyond the object: its length and type stay."""
    own = bytes(bytearray(data))
    burn(own)
    assert own == bytes(len(data))


@given(st.text(min_size=2))
def test_text_is_zero_afterwards(text: str) -> None:
    """Text of every width that the interpreter stores."""
    own = (text + "x")[:-1]
    start, size = module._place(own)
    burn(own)
    assert ctypes.string_at(start, size) == bytes(size)
    assert len(own) == len(text)


@pytest.mark.parametrize("shared", [b"", b"a", "", "a", "\xfc"])
def test_what_is_shared_is_left(shared: bytes | str) -> None:
    """Empty and one-character objects are everybody's."""
    before = sys.intern(shared) if isinstance(shared, str) else bytes(bytearray(shared))
    burn(shared)
    assert shared == before


def test_buffers_are_overwritten() -> None:
    """Bytearrays and views too."""
    data = bytearray(b"secret")
    burn(memoryview(data)[:3])
    assert data == b"\0\0\0ret"
    burn(data)
    assert data == bytes(6)
