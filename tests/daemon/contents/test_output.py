"""What is kept of a stream: bounded, accounted for, and signed as it is stored."""

import base64
import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.contents.output import Excerpt, Excerpting, pack, unpack
from ledger.documents import digest_of_document
from ledger.errors import EvidenceError

EXCERPTS = st.one_of(
    st.builds(Excerpt, st.binary()),
    st.builds(Excerpt, st.binary(), st.binary(), st.integers(1, 2**53 - 1)),
)


def document(one: Excerpt) -> dict[str, Any]:
    start, end = (base64.b64encode(part).decode() for part in (one.start, one.end))
    return {"what": "output", "start": start, "end": end, "left_out": one.left_out}


@given(st.lists(st.binary(max_size=40)), st.integers(0, 64))
def test_whatever_comes_it_is_bounded_and_accounted_for(chunks: list[bytes], most: int) -> None:
    """However it is cut: the first bytes, the last, and every byte between counted."""
    stream, whole = Excerpting(most), b"".join(chunks)
    for chunk in chunks:
        stream.add(chunk)
    found = stream.excerpt()
    if not whole or not most:
        assert found is None
        return
    assert found is not None
    assert found.size == min(len(whole), most)
    assert found.size + found.left_out == len(whole)
    assert whole.startswith(found.start)
    assert whole.endswith(found.end)
    assert found.left_out or found.start == whole


@given(st.dictionaries(st.sampled_from(["stdout", "stderr"]), EXCERPTS))
def test_what_is_stored_is_what_was_kept(kept: dict[Any, Excerpt]) -> None:
    """There and back; nothing where there is nothing."""
    assert unpack(pack(kept) or b"") == kept


@given(st.binary(max_size=64))
def test_what_another_hand_stored_is_refused_or_says_something(stored: bytes) -> None:
    """ValueError, and nothing else."""
    try:
        found = unpack(stored)
    except ValueError:
        return
    assert sum(25 + one.size for one in found.values()) == len(stored)


@given(EXCERPTS)
def test_evidence_has_the_same_digest(one: Excerpt) -> None:
    """Two who compute it apart agree."""
    assert digest_of_document(document(one)) == one.digest()


def test_the_digest_is_of_this_form() -> None:
    """SHA-256 of tag, start, how much is left out, end, each behind its length."""
    parts = (b"stockade/output/v1", b"begun", (7).to_bytes(8, "big"), b"ended")
    expected = hashlib.sha256(b"".join(len(p).to_bytes(8, "big") + p for p in parts)).hexdigest()
    assert Excerpt(b"begun", b"ended", 7).digest() == expected


@given(EXCERPTS, EXCERPTS)
def test_no_two_have_one_digest(one: Excerpt, other: Excerpt) -> None:
    """Wherever a byte is moved from one part to another."""
    assert (one == other) == (one.digest() == other.digest())


GOOD = document(Excerpt(b"begun", b"ended", 7))


@pytest.mark.parametrize(
    "edit",
    [
        {"start": "YmVndW4"},
        {"start": "YmVndW5="},
        {"start": "YmVndW4=\n"},
        {"start": None},
        {"end": "*"},
        {"left_out": -1},
        {"left_out": 2**53},
        {"left_out": True},
        {"left_out": 7.0},
        {"left_out": 0},
        {"more": ""},
    ],
)
def test_what_is_spelt_otherwise_is_no_document(edit: dict[str, Any]) -> None:
    """Of each output there is one document, so that none has a second form."""
    digest_of_document(GOOD)
    with pytest.raises(EvidenceError) as refused:
        digest_of_document({**GOOD, **edit})
    assert refused.value.code == "DOCUMENT"
