"""Editing: every field of every entry, by whoever has no key, one key, or only the file."""

import base64
import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon.leases.record import kind_of
from daemon.lifecycle import State
from daemon.store.leases import LeaseState
from ledger.authentic import Inauthentic, Reader
from ledger.canonical import encode
from ledger.chain import Chain
from ledger.errors import BadEntry, Fault
from ledger.export import encode_line
from ledger.receipt import digest_of, message_of
from ledger.verify import verify

from .specimen import KEYS, PUBLIC, START_MS, STOLEN_NAME, ledger, line_of, lines_of, uuid7
from .test_siem import KINDS

EVERY_KIND = sorted({*KINDS, *(f"call.{s}" for s in State), *(kind_of(s) for s in LeaseState)})
LINES = lines_of(ledger(4))
UNREADABLE = {Fault.MALFORMED, Fault.VERSION, Fault.NOT_CANONICAL}

Path = tuple[str | int, ...]


def paths(value: object, path: Path = ()) -> Iterator[Path]:
    """Every place in a JSON value, the containers too."""
    if path:
        yield path
    if isinstance(value, dict):
        for key, item in value.items():
            yield from paths(item, (*path, key))
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from paths(item, (*path, index))


def replacements(value: object) -> list[object]:
    """Other values, of the same form where there is one, and of other types."""
    others: list[object] = [None, True, False, 0, 1, -1, 2**53 - 1, "", "x", [], {}, [value]]
    if isinstance(value, str):
        others += [value + "x", value[:-1], value.swapcase(), value + "\n", "\u200b" + value]
        others += [value.replace("1", "2"), value.replace("a", "\N{CYRILLIC SMALL LETTER A}")]
    if isinstance(value, int):
        others += [value + 1, value - 1, str(value)]
    return [other for other in others if json.dumps(other) != json.dumps(value)]


def edits(fields: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The receipt with each place set to another value, taken out, and with one more beside it."""
    for path in paths(fields["receipt"]):
        changed = copy.deepcopy(fields)
        place: Any = changed["receipt"]
        for step in path[:-1]:
            place = place[step]
        original = place[path[-1]]
        for other in replacements(original):
            place[path[-1]] = other
            yield f"{path} set to {other!r}", copy.deepcopy(changed)
        del place[path[-1]]
        yield f"{path} removed", copy.deepcopy(changed)
    for where in ("receipt", "body"):
        changed = copy.deepcopy(fields)
        (changed["receipt"] if where == "receipt" else changed["receipt"]["body"])["new"] = 1
        yield f"a field added to the {where}", changed


def found(lines: list[bytes]) -> BadEntry:
    with pytest.raises(BadEntry) as caught:
        verify(lines, PUBLIC)
    return caught.value


def rehash(fields: dict[str, Any]) -> bytes:
    digest = digest_of(encode(fields["receipt"]))
    fields["digest"] = digest.hex()
    return digest


@pytest.mark.parametrize("at", [0, 1, 3])
def test_every_edit_is_named(at: int) -> None:
    """Whichever place of a receipt is changed, the line is named: EDITED, or no receipt at all."""
    seen = set()
    for what, fields in edits(json.loads(LINES[at])):
        error = found([*LINES[:at], line_of(fields), *LINES[at + 1 :]])
        assert error.line == at + 1, what
        assert error.code in UNREADABLE | {Fault.EDITED}, what
        seen.add(error.code)
    assert {Fault.EDITED, Fault.MALFORMED, Fault.VERSION} <= seen


@pytest.mark.parametrize("at", [0, 1, 3])
def test_every_edit_with_a_new_digest_is_named(at: int) -> None:
    """Whoever recomputes the digest as well has no signature for it."""
    seen = set()
    for what, fields in edits(json.loads(LINES[at])):
        rehash(fields)
        error = found([*LINES[:at], line_of(fields), *LINES[at + 1 :]])
        assert error.line == at + 1, what
        assert error.code in UNREADABLE | {Fault.BAD_SIGNATURE, Fault.OTHER_CHAIN}, what
        seen.add(error.code)
    assert {Fault.BAD_SIGNATURE, Fault.OTHER_CHAIN} <= seen


@pytest.mark.parametrize("keys", [STOLEN_NAME, KEYS])
def test_every_edit_signed_anew_is_named(keys: Any) -> None:
    """Signed by another key: BAD_SIGNATURE. By the chain's own: the entry after it tells."""
    signer = keys.signer()
    for what, fields in edits(json.loads(LINES[1])):
        digest = rehash(fields)
        fields["sig"] = _base64(signer.sign(message_of(digest)))
        error = found([LINES[0], line_of(fields), *LINES[2:]])
        if keys is STOLEN_NAME:
            assert error.line == 2, what
        else:
            assert error.line in (2, 3), what
            assert error.code not in {Fault.EDITED, Fault.BAD_SIGNATURE}, what


@pytest.mark.parametrize("kind", EVERY_KIND)
def test_every_edit_of_every_kind_there_is_is_named(kind: str) -> None:
    """Of what the daemon has a word for, and of each state that calls and leases come to."""
    chain = Chain("alpha", KEYS.signer(), None)
    entry = chain.append(kind, {"a": [1, "b"]}, receipt_id=uuid7(1), now_ms=START_MS)
    line = encode_line(entry)
    assert Reader(PUBLIC).authentic(line).receipt.kind == kind
    for what, changed in edits(json.loads(line)):
        for sealed in (False, True):
            if sealed:
                rehash(changed)
            with pytest.raises(Inauthentic) as caught:
                Reader(PUBLIC).authentic(line_of(changed))
            words = {Fault.BAD_SIGNATURE, Fault.OTHER_CHAIN} if sealed else {Fault.EDITED}
            assert caught.value.fault in UNREADABLE | words, what


def test_a_signature_over_a_bare_digest_is_none() -> None:
    """Domain separation: what the key signs elsewhere never passes for a receipt's signature."""
    fields = json.loads(LINES[0])
    digest = bytes.fromhex(fields["digest"])
    for message in (digest, encode(fields["receipt"]), fields["digest"].encode()):
        fields["sig"] = _base64(KEYS.signer().sign(message))
        assert found([line_of(fields), *LINES[1:]]).code == Fault.BAD_SIGNATURE


@pytest.mark.parametrize("version", [0, 2, "1", 1.0, True, None])
def test_a_version_downgrade_is_refused(version: object) -> None:
    """A receipt signed under another version is never read by this one's rules."""
    fields = json.loads(LINES[1])
    fields["receipt"]["v"] = version
    raw = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    error = found([LINES[0], raw])
    assert (error.line, error.code in UNREADABLE) == (2, True)
    if type(version) is int:
        assert error.code == Fault.VERSION


def test_fields_do_not_run_together() -> None:
    """Moving text from one field to the next changes the digest: nothing is joined bare."""
    fields = json.loads(LINES[1])
    receipt = fields["receipt"]
    receipt["kind"], receipt["body"]["tag"] = receipt["kind"][:-1], receipt["kind"][-1]
    assert found([LINES[0], line_of(fields), *LINES[2:]]).code == Fault.EDITED


def test_look_alikes_are_edits() -> None:
    """Unicode is compared byte for byte: a normalised or look-alike text is another text."""
    for old, new in (
        ("naïve", "nai\u0308ve"),
        ("builder", "bui\u200blder"),
        ("agent/", "\N{CYRILLIC SMALL LETTER A}gent/"),
        ("\u2028", "\n"),
        ("\\n", "\\\\n"),
    ):
        text = LINES[1].decode()
        assert old in text
        edited = text.replace(old, new if old != "\u2028" else "\\n", 1).encode()
        assert found([LINES[0], edited, *LINES[2:]]).code in {Fault.EDITED, Fault.NOT_CANONICAL}


@given(st.integers(0, 3), st.data())
def test_every_byte_of_every_line_counts(at: int, data: st.DataObject) -> None:
    """No byte of any line can be changed, added or taken out: that line is the first bad one."""
    line = bytearray(LINES[at])
    place = data.draw(st.integers(0, len(line) - 2))  # the newline itself is not part of the entry
    how = data.draw(st.sampled_from(["change", "add", "drop"]))
    byte = data.draw(st.integers(1, 255))
    if how == "change":
        line[place] ^= byte
    elif how == "add":
        line.insert(place, byte)
    else:
        del line[place]
    lines = [*LINES[:at], bytes(line), *LINES[at + 1 :]]
    if lines != LINES:
        assert found(lines).line == at + 1


def test_signatures_are_not_malleable() -> None:
    """S and S + L are not both signatures: the larger one is refused (RFC 8032, 5.1.7)."""
    order = 2**252 + 27742317777372353535851937790883648493
    fields = json.loads(LINES[1])
    signature = _unbase64(fields["sig"])
    scalar = int.from_bytes(signature[32:], "little") + order
    fields["sig"] = _base64(signature[:32] + scalar.to_bytes(32, "little"))
    assert found([LINES[0], line_of(fields), *LINES[2:]]).code == Fault.BAD_SIGNATURE


def test_swapping_two_receipts_between_their_signatures_is_named() -> None:
    """Digest and signature of one entry do not serve another."""
    one, two = json.loads(LINES[1]), json.loads(LINES[2])
    crossed = line_of({**one, "receipt": two["receipt"]})
    assert found([LINES[0], crossed, LINES[2]]).code == Fault.EDITED
    crossed = line_of({**one, "sig": two["sig"]})
    assert found([LINES[0], crossed, LINES[2]]).code == Fault.BAD_SIGNATURE
    assert uuid7(1) in LINES[1].decode()


def _base64(blob: bytes) -> str:
    return base64.b64encode(blob).decode()


def _unbase64(text: str) -> bytes:
    return base64.b64decode(text)
