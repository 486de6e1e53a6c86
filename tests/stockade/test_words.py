"""The words by which two people compare a key."""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from stockade.words import WORDS, words


def test_the_word_list_is_frozen() -> None:
    """A changed word would make two versions show different words for one key."""
    digest = hashlib.sha256(" ".join(WORDS).encode()).hexdigest()
    assert digest == "977b03604c19882e636150a84feee4a5d67d6f15f73ee2d0d2e431cc4f9873cc"


def test_the_words_cannot_be_confused() -> None:
    """256 distinct plain words, no two starting with the same three letters."""
    assert len(WORDS) == len({word[:3] for word in WORDS}) == 256
    assert all(word.isascii() and word.islower() and 3 <= len(word) <= 8 for word in WORDS)


def test_the_rendering_is_frozen() -> None:
    """A known fingerprint has known words."""
    fingerprint = "00ff10" + "80" * 5 + "0" * 48
    assert words(fingerprint) == "acorn-zipper-basket" + "-lily" * 5


@given(st.binary(min_size=32, max_size=32), st.integers(0, 63))
def test_each_of_64_bits_shows(digest: bytes, bit: int) -> None:
    """Flipping any of the first 64 bits changes the words."""
    other = bytearray(digest)
    other[bit // 8] ^= 1 << (bit % 8)
    assert words(digest.hex()) != words(other.hex())
