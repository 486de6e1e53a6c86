"""Redaction."""

import base64
import hashlib
import json
import os
import time
import zlib
from collections.abc import Sequence
from itertools import pairwise
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.anchors import LENGTH, Anchors, distinct
from vault.burn import burn
from vault.errors import Code, RedactorError
from vault.forms import forms
from vault.matcher import Matcher
from vault.redact import Redaction, Redactor, redact
from vault.reference import SecretName
from vault.secret import Secret

NAME = SecretName("token")
VALUE = b'p/ss w+rd"\\\xc3\xa9<&>\n#1?'
MARK = b"[redacted:token]"
# Two letters and short secrets: overlaps, borders and near misses at every turn.
tight = st.binary(min_size=0, max_size=60).map(lambda data: bytes(97 + byte % 2 for byte in data))
tight_secrets = st.lists(tight.filter(bool), min_size=1, max_size=3)


def one(data: bytes, value: bytes = VALUE) -> bytes:
    return redact(data, [(NAME, Secret(value))])


def named(values: Sequence[bytes]) -> list[tuple[SecretName, Secret]]:
    return [(SecretName(f"s{place}"), Secret(value)) for place, value in enumerate(values)]


def redactor_of(*values: bytes) -> Redactor:
    """Of one stream; the redaction lives as long as it does."""
    one_name = [(NAME, Secret(value)) for value in values]
    return Redaction(one_name if len(values) == 1 else named(values)).stream()


def streamed(chunks: Sequence[bytes], values: Sequence[bytes]) -> bytes:
    redactor = Redaction(named(values)).stream()
    return b"".join([redactor.feed(chunk) for chunk in chunks] + [redactor.finish()])


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in pairwise(edges)]


def by_definition(data: bytes, values: Sequence[bytes]) -> bytes:
    """What redaction means, written as plainly and slowly as it can be."""
    owner: dict[bytes, SecretName] = {}
    for name, secret in named(values):
        for form in forms(secret.reveal()):
            owner.setdefault(form, name)
    spans = sorted(
        (start, -(start + len(form)), name)
        for form, name in owner.items()
        for start in range(len(data) - len(form) + 1)
        if data.startswith(form, start)
    )
    out, shown = [], 0
    for start, minus_end, name in spans:
        if start >= shown:
            out += [data[shown:start], f"[redacted:{name}]".encode()]
        shown = max(shown, -minus_end)
    return b"".join([*out, data[shown:]])


@given(tight, tight_secrets, st.lists(st.integers(0, 1000), max_size=8))
def test_cuts_do_not_matter(data: bytes, values: list[bytes], places: list[int]) -> None:
    """However the output is cut, the result is that of the whole, and what redaction means."""
    assert streamed(cut(data, places), values) == by_definition(data, values)


@given(
    st.lists(st.one_of(st.binary(max_size=20), st.integers(0, 30)), max_size=8),
    st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=2),
    st.lists(st.integers(0, 2000), max_size=8),
)
def test_cuts_do_not_matter_for_encoded_secrets(
    pieces: list[bytes | int], values: list[bytes], places: list[int]
) -> None:
    """The same, for output made of encoded secrets between arbitrary bytes."""
    written = [form for value in values for form in forms(value)]
    data = b"".join(
        written[piece % len(written)] if isinstance(piece, int) else piece for piece in pieces
    )
    assert streamed(cut(data, places), values) == by_definition(data, values)


@given(st.binary(max_size=50), st.binary(min_size=4, max_size=50), st.binary(max_size=50))
def test_the_value_is_gone(before: bytes, value: bytes, after: bytes) -> None:
    """Whatever stands around it, the value is replaced, one byte at a time as well."""
    data = before + value + after
    whole = redact(data, named([value]))
    assert b"[redacted:s0]" in whole
    assert streamed([data[place : place + 1] for place in range(len(data))], [value]) == whole


@pytest.mark.parametrize(
    "written",
    [
        VALUE,
        VALUE.hex().encode(),
        VALUE.hex().upper().encode(),
        base64.b64encode(VALUE),
        base64.b64encode(VALUE).rstrip(b"="),
        base64.urlsafe_b64encode(VALUE),
        base64.urlsafe_b64encode(VALUE).rstrip(b"="),
        quote(VALUE).encode(),
        quote(VALUE, safe="").encode(),
        quote(VALUE, safe="").lower().encode(),
        quote(VALUE, safe="!~*'()").encode(),
        quote_plus(VALUE).encode(),
        "".join(f"%{byte:02x}" for byte in VALUE).encode(),
        json.dumps(VALUE.decode())[1:-1].encode(),
        json.dumps(VALUE.decode(), ensure_ascii=False)[1:-1].encode(),
        json.dumps(VALUE.decode())[1:-1].replace("/", "\\/").encode(),
        json.dumps(VALUE.decode())[1:-1].replace("\\u00e9", "\\u00E9").encode(),
        b'p/ss w+rd\\"\\\\\xc3\xa9\\u003c\\u0026\\u003e\\n#1?',
    ],
)
def test_each_written_form_is_one_marker(written: bytes) -> None:
    """Each documented form of the value becomes exactly the marker."""
    assert one(b"<" + written + b">") == b"<" + MARK + b">"


@pytest.mark.parametrize("before", range(6))
@pytest.mark.parametrize("after", range(1, 4))
@pytest.mark.parametrize("size", [4, 5, 6, 21])
def test_base64_of_a_longer_text_is_found(before: int, after: int, size: int) -> None:
    """At every alignment exactly the characters that carry only the secret's bits are replaced."""
    value = hashlib.sha256(b"value").digest()[:size]
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        text = encode(b"\xff" * before + value + b"\x81" * after)
        first, last = -(-before * 8 // 6), (before + size) * 8 // 6
        assert one(text, value) == text[:first] + MARK + text[last:]


@pytest.mark.parametrize("newline", [b"", b"\n"])
@pytest.mark.parametrize("size", [48, 57, 58, 100, 1000])
def test_wrapped_base64_is_found(size: int, newline: bytes) -> None:
    """What `base64` prints, in lines of 76, of a value with or without a final newline."""
    value = os.urandom(size - 1) + b"x"
    text = base64.encodebytes(value + newline)
    kept = one(text, value)
    assert kept.startswith(MARK)
    assert len(kept) <= len(MARK) + 6


def test_a_final_newline_need_not_be_printed() -> None:
    """A secret put with `echo` is still found when a tool strips its newline."""
    assert one(b"[hunter22]", b"hunter22\n") == b"[" + MARK + b"]"
    assert one(base64.b64encode(b"hunter22"), b"hunter22\r\n") == MARK


def test_overlapping_secrets_are_covered_whole() -> None:
    """The tail of a second secret that overlaps the first does not get through."""
    assert redact(b"-abcdef-", named([b"abcd", b"cdef"])) == b"-[redacted:s0]-"
    assert redact(b"-aaaaaaa-", named([b"aaaa"])) == b"-[redacted:s0]-"


def test_a_longer_secret_gives_the_name() -> None:
    """Where one secret begins with another, the longer names the marker, in any order given."""
    assert redact(b"passwords", named([b"pass", b"password"])) == b"[redacted:s1]s"
    assert redact(b"passwords", named([b"password", b"pass"])) == b"[redacted:s0]s"


def test_each_occurrence_is_counted() -> None:
    """Markers are counted, neighbours separately."""
    redactor = redactor_of(b"abcd")
    out = redactor.feed(b"abcdabcd, ab") + redactor.feed(b"cd; abc") + redactor.finish()
    assert out == MARK + MARK + b", " + MARK + b"; abc"
    assert redactor.count == 3


@pytest.mark.parametrize("value", [b"a", b"ab", b"abc"])
def test_a_very_short_secret_is_redacted_as_itself(value: bytes) -> None:
    """Under four bytes the value is replaced everywhere, and its encodings are not looked for."""
    assert one(b"x" + value + b"y", value) == b"x" + MARK + b"y"
    assert forms(value) == [value]
    assert len(forms(b"abcd")) > 1


def test_ordinary_output_flows_at_once() -> None:
    """Nothing is held back unless the output ends in a real beginning of a form."""
    redactor = redactor_of(b"hunter2hunter3")
    assert redactor.feed(b"hello, world\n") == b"hello, world\n"
    assert redactor.feed(b"go hunter2hun") == b"go "
    assert redactor.feed(b"gry") == b"hunter2hungry"
    assert redactor.feed(b"x h") == b"x "
    assert redactor.finish() == b"h"


@given(tight, tight_secrets)
def test_the_delay_is_bounded(data: bytes, values: list[bytes]) -> None:
    """Never more than the longest form less one byte is held back."""
    redactor = redactor_of(*values)
    longest = max(len(form) for value in values for form in forms(value))
    for place in range(len(data)):
        redactor.feed(data[place : place + 1])
        assert len(redactor._held) - redactor._given < longest


def test_near_misses_cost_linear_time() -> None:
    """A tool that knows a periodic secret and prints near misses does not stall the reader."""
    value = b"a" * 65_536
    data = (b"a" * 65_535 + b"b") * 8
    before = time.process_time()
    assert one(data, value) == data
    # Quadratic work would be 3 * 10^10 comparisons; linear is about a second on a slow machine.
    assert time.process_time() - before < 10


def test_one_byte_at_a_time_costs_linear_time() -> None:
    """A beginning of a large secret that arrives byte by byte is not compared again and again."""
    value = os.urandom(20_000)
    redactor = redactor_of(value)
    before = time.process_time()
    for place in range(len(value)):
        assert redactor.feed(value[place : place + 1]) == (b"" if place < 19_999 else MARK)
    assert time.process_time() - before < 10


@given(tight, tight.filter(bool), st.lists(st.integers(0, 1000), max_size=5))
def test_a_matcher_finds_every_occurrence(data: bytes, pattern: bytes, places: list[int]) -> None:
    """Overlapping occurrences are all found, and the started one is measured, at any cut."""
    matcher, ends, seen = Matcher(pattern), [], 0
    least = min(LENGTH, len(pattern))
    anchors = occurrences(data, pattern[:LENGTH])
    for chunk in cut(data, places):
        here = [end - seen for end in anchors if seen < end <= seen + len(chunk)]
        ends += [seen + end for end in matcher.feed(memoryview(chunk), here)]
        seen += len(chunk)
        started = [n for n in range(len(pattern)) if data[:seen].endswith(pattern[:n])]
        assert matcher.matched == (max(started) if max(started) >= least else 0)
    assert ends == occurrences(data, pattern)


def occurrences(data: bytes, pattern: bytes) -> list[int]:
    """The places just behind each, plainly."""
    length = len(pattern)
    return [end for end in range(length, len(data) + 1) if data[end - length : end] == pattern]


@given(
    st.lists(st.binary(min_size=1, max_size=3 * LENGTH), min_size=1, max_size=6),
    st.lists(st.one_of(st.binary(max_size=4), st.integers(0, 5)), max_size=12),
)
def test_every_anchor_is_found(texts: list[bytes], pieces: list[bytes | int]) -> None:
    """Whatever its bytes are, NUL and those that mean something to a pattern language too."""
    data = b"".join(
        texts[piece % len(texts)] if isinstance(piece, int) else piece for piece in pieces
    )
    found = distinct(texts)
    expected = sorted(
        (end, number) for number, anchor in enumerate(found) for end in occurrences(data, anchor)
    )
    assert list(Anchors(list(found)).ends_in(data)) == expected


def test_the_stated_limits_are_the_limits() -> None:
    """Backwards, in pieces with something between, in another encoding: SECURITY.md says that these
    get through. What is found of a value is found whatever else the output has.
    """
    value = b"a-secret-Yt71"
    written = {
        value[::-1],
        b" ".join(bytes([byte]) for byte in value),
        base64.b32encode(value),
        zlib.compress(value),
    }
    for passed in written:
        assert one(passed, value) == passed
        assert one(passed + b" " + value, value) == passed + b" " + MARK


def test_no_secrets_no_change() -> None:
    """Without secrets the output is itself."""
    assert redact(b"hello", []) == b"hello"


def test_two_secrets_of_one_value_are_named_by_the_first() -> None:
    """The same value under two names is redacted once, for the first."""
    assert redact(b"abcd", named([b"abcd", b"abcd"])) == b"[redacted:s0]"


def test_a_finished_redactor_is_finished() -> None:
    """Bytes after the end are refused instead of passing by."""
    redactor = redactor_of(VALUE)
    redactor.finish()
    with pytest.raises(RedactorError) as refusal:
        redactor.feed(b"x")
    assert refusal.value.code is Code.REDACTOR_FINISHED
    with pytest.raises(RedactorError):
        redactor.finish()


def test_a_redactor_does_not_show_its_secrets() -> None:
    """Its representation counts, and it is not pickled."""
    redactor = redactor_of(b"hunter22")
    assert "hunter" not in repr(redactor)
    with pytest.raises(RedactorError):
        redactor.__reduce_ex__(2)


def test_what_was_looked_for_is_overwritten() -> None:
    """A wiped redaction holds no form any more: each buffer that held one is zero."""
    wanted = Redaction(named([VALUE, b"hunter22"]))
    held = list(wanted.patterns)
    assert VALUE in held
    wanted.wipe()
    assert not wanted.patterns
    assert all(set(form) == {0} for form in held if len(form) > 1)


def test_forms_are_the_callers_own() -> None:
    """Overwriting what `forms` returned changes neither the value nor the next answer."""
    value = bytes(bytearray(b"plain-and-simple"))
    first = forms(value)
    kept = [bytes(bytearray(form)) for form in first]
    burn(*first)
    assert value == b"plain-and-simple"
    assert forms(value) == kept
