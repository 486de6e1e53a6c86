"""Sealed streams: what was written comes back, whole and in order, or there is an error."""

import contextlib
import io
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vault.errors import Code, VaultError
from vault.passphrase import Cost
from vault.sealed_stream import OpeningReader, SealingWriter
from vault.secret import Secret

WORDS = b"correct horse battery staple"
CHEAP = Cost(memory_kib=19 * 1024, passes=2, lanes=1)
FIXTURE = Path(__file__).with_name("fixtures") / "sealed-stream-v1.bin"
MIB = 1 << 20
PARTS = (b"a" * 10, b"b" * (2 * MIB), b"", b"c" * 77)


def sealed(*parts: bytes) -> bytes:
    out = io.BytesIO()
    with SealingWriter(Secret(WORDS), out, CHEAP) as writer:
        for part in parts:
            assert writer.write(part) == len(part)
    return out.getvalue()


def opened(data: bytes, step: int = 4096) -> bytes:
    reader = OpeningReader(Secret(WORDS), io.BytesIO(data))
    found = b"".join(iter(lambda: reader.read(step), b""))
    reader.finish()
    return found


KEPT = sealed(*PARTS)


def refused(data: bytes) -> Code:
    with pytest.raises(VaultError) as refusal:
        opened(data)
    return refusal.value.code


def test_the_form_is_frozen() -> None:
    """What an earlier version wrote is read for ever."""
    assert opened(FIXTURE.read_bytes()) == b"what an earlier version wrote\n"


@settings(max_examples=10)
@given(st.integers(1, 3 * MIB))
def test_it_comes_back_in_whatever_pieces(step: int) -> None:
    """However it was written, and however it is read."""
    assert opened(KEPT, step) == b"".join(PARTS)


def test_nothing_is_something() -> None:
    """An empty stream has an end as well."""
    assert opened(sealed()) == b""


def test_a_stream_that_was_left_with_an_error_has_no_end() -> None:
    """Half of what was to be written is never taken for the whole."""
    out = io.BytesIO()
    with contextlib.suppress(RuntimeError), SealingWriter(Secret(WORDS), out, CHEAP) as writer:
        writer.write(b"half")
        raise RuntimeError
    assert refused(out.getvalue()) is Code.BACKUP_DAMAGED


@settings(max_examples=25)  # each derives a key from the passphrase
@given(st.integers(0, len(KEPT) - 1))
def test_cut_anywhere_it_is_refused(length: int) -> None:
    """Also between two records, and before its end."""
    assert refused(KEPT[:length])


@settings(max_examples=25)  # each derives a key from the passphrase
@given(st.integers(0, len(KEPT) * 8 - 1))
def test_a_flipped_bit_is_refused(bit: int) -> None:
    """Wherever it is."""
    bad = bytearray(KEPT)
    bad[bit // 8] ^= 1 << bit % 8
    assert refused(bytes(bad))


def test_more_behind_the_end_is_refused() -> None:
    """Another stream, or anything else."""
    assert refused(KEPT + b"x") is Code.BACKUP_DAMAGED
    assert refused(KEPT + KEPT) is Code.BACKUP_DAMAGED
