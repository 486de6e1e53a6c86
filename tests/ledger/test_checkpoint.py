"""Checkpoints: signed notes with two signatures."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import checkpoint as checkpoint_module
from ledger.checkpoint import Checkpoint, check_advance, parse_checkpoint, sign
from ledger.errors import CheckpointError
from ledger.keys import SigningKeys
from ledger.merkle import EMPTY_ROOT, consistency_proof, subtree_of
from ledger.note import MAX_NOTE, MAX_SIGNATURES, NoteSignature, format_note, parse_note

from .specimen import KEYS, OTHER_KEYS, PUBLIC, STOLEN_NAME, fork, ledger, root_of

ROOT = bytes(range(32))
CHECKPOINT = Checkpoint("alpha", 7, ROOT)
NOTE = sign(CHECKPOINT, KEYS)


def signed(text: str, keys: SigningKeys = KEYS) -> bytes:
    """A note over any text, with both signatures right."""
    context = checkpoint_module._CONTEXT
    message, public = text.encode(), keys.public()
    signatures = (keys.signer().sign(message), keys.sign_mldsa65(message, context))
    return format_note(
        text,
        [
            NoteSignature(public.name, key_id, signature)
            for key_id, signature in zip(public.key_ids, signatures, strict=True)
        ],
    )


def with_lines(*lines: bytes) -> bytes:
    return b"".join((CHECKPOINT.text.encode(), b"\n", *lines))


TEXT, BLANK, LINES = NOTE.rpartition(b"\n\n")
ED_LINE, ML_LINE = LINES.splitlines(keepends=True)


def test_a_checkpoint_is_a_c2sp_note() -> None:
    """Three lines, a blank line, two signature lines under the origin's name; and it verifies."""
    text, signatures = parse_note(NOTE)
    assert text == f"stockade/alpha\n7\n{base64.b64encode(ROOT).decode()}\n"
    assert [item.name for item in signatures] == ["stockade/alpha"] * 2
    assert [len(item.signature) for item in signatures] == [64, 3309]
    assert parse_checkpoint(NOTE, PUBLIC) == CHECKPOINT


@pytest.mark.parametrize("lines", [(ED_LINE,), (ML_LINE,)])
def test_a_checkpoint_stripped_to_one_signature_is_refused(lines: tuple[bytes, ...]) -> None:
    """Ed25519 alone is what a quantum forger offers; ML-DSA-65 alone is not enough either."""
    with pytest.raises(CheckpointError) as caught:
        parse_checkpoint(with_lines(*lines), PUBLIC)
    assert caught.value.code == "SIGNATURES"


@pytest.mark.parametrize(
    "lines", [(ED_LINE, ED_LINE), (ML_LINE, ML_LINE), (ED_LINE, ML_LINE, ED_LINE)]
)
def test_one_signature_twice_is_not_two(lines: tuple[bytes, ...]) -> None:
    """Exactly one signature of each key; a repeated one is refused."""
    with pytest.raises(CheckpointError) as caught:
        parse_checkpoint(with_lines(*lines), PUBLIC)
    assert caught.value.code == "SIGNATURES"


def test_either_signature_being_wrong_refuses_the_checkpoint() -> None:
    """Both must verify: each one is replaced by that over another checkpoint."""
    other = sign(Checkpoint("alpha", 8, ROOT), KEYS).rpartition(b"\n\n")[2]
    other_ed, other_ml = other.splitlines(keepends=True)
    for lines in ((other_ed, ML_LINE), (ED_LINE, other_ml), (other_ed, other_ml)):
        with pytest.raises(CheckpointError) as caught:
            parse_checkpoint(with_lines(*lines), PUBLIC)
        assert caught.value.code == "BAD_SIGNATURE"


def test_the_order_of_signatures_does_not_matter() -> None:
    """A note says nothing by the order of its signatures."""
    assert parse_checkpoint(with_lines(ML_LINE, ED_LINE), PUBLIC) == CHECKPOINT


def test_a_witness_may_sign_too() -> None:
    """Signatures of unknown keys are ignored (C2SP), and never stand in for ours."""
    witness = "\N{EM DASH} witness.example/w1 ".encode() + base64.b64encode(bytes(76)) + b"\n"
    assert parse_checkpoint(with_lines(witness, ED_LINE, ML_LINE), PUBLIC) == CHECKPOINT
    with pytest.raises(CheckpointError):
        parse_checkpoint(with_lines(witness, ED_LINE), PUBLIC)


@pytest.mark.parametrize("keys", [OTHER_KEYS, STOLEN_NAME])
def test_another_chains_checkpoint_is_refused(keys: SigningKeys) -> None:
    """Neither another chain's keys nor other keys under this chain's name are accepted."""
    with pytest.raises(CheckpointError) as caught:
        parse_checkpoint(sign(Checkpoint(keys.chain, 7, ROOT), keys), PUBLIC)
    assert caught.value.code == "SIGNATURES"


def test_keys_sign_only_their_own_chain() -> None:
    """A checkpoint of another chain is not signed."""
    with pytest.raises(CheckpointError, match="OTHER_CHAIN"):
        sign(CHECKPOINT, OTHER_KEYS)


B64 = base64.b64encode(ROOT).decode()


@pytest.mark.parametrize(
    "text",
    [
        f"stockade/beta\n7\n{B64}\n",
        f"stockade/alpha \n7\n{B64}\n",
        f"stockade/alpha\u2028\n7\n{B64}\n",
        f"Stockade/alpha\n7\n{B64}\n",
        f"stockade/alpha\n07\n{B64}\n",
        f"stockade/alpha\n+7\n{B64}\n",
        f"stockade/alpha\n-7\n{B64}\n",
        f"stockade/alpha\n7.0\n{B64}\n",
        f"stockade/alpha\n7 \n{B64}\n",
        f"stockade/alpha\n\N{ARABIC-INDIC DIGIT SEVEN}\n{B64}\n",
        f"stockade/alpha\n1_0\n{B64}\n",
        f"stockade/alpha\n\n{B64}\n",
        f"stockade/alpha\n{2**53}\n{B64}\n",
        f"stockade/alpha\n{10**30}\n{B64}\n",
        f"stockade/alpha\n0\n{B64}\n",
        f"stockade/alpha\n7\n{B64[:-1]}\n",
        f"stockade/alpha\n7\n{B64[:-2]}9=\n",
        f"stockade/alpha\n7\n{B64}{B64}\n",
        "stockade/alpha\n7\n\n",
        f"stockade/alpha\n7\n{B64}\nextension\n",
        f"stockade/alpha\n7\n{B64}\n\n",
        f"\nstockade/alpha\n7\n{B64}\n",
        f"stockade/alpha\n7 {B64}\n",
        "stockade/alpha\n",
    ],
)
def test_even_a_signed_text_has_one_form(text: str) -> None:
    """A text that both keys signed but that is no checkpoint of this chain is refused."""
    with pytest.raises(CheckpointError) as caught:
        parse_checkpoint(signed(text), PUBLIC)
    assert caught.value.code in {"MALFORMED", "OTHER_CHAIN"}


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"\n",
        b"\n\n",
        TEXT,
        TEXT + b"\n\n",
        NOTE[:-1],
        NOTE + b"\n",
        NOTE.replace(b"\n", b"\r\n"),
        NOTE.replace(b"\xe2\x80\x94", b"-"),
        NOTE.replace(b"\xe2\x80\x94 ", b"\xe2\x80\x94"),
        NOTE.replace(b"\xe2\x80\x94 ", b"\xe2\x80\x94\xc2\xa0"),
        NOTE.replace(b"7\n", b"7\x00\n"),
        NOTE.replace(b"7\n", b"7\t\n"),
        NOTE.replace(b"7\n", b"7\xff\n"),
        b"\xef\xbb\xbf" + NOTE,
        with_lines(ED_LINE.replace(b"\n", b"=\n"), ML_LINE),
        with_lines(ED_LINE.replace(b"\n", b" \n"), ML_LINE),
        with_lines(*[ED_LINE] * (MAX_SIGNATURES + 1)),
        NOTE + b"x" * MAX_NOTE,
    ],
)
def test_a_note_out_of_form_is_refused(note: bytes) -> None:
    """White space, control characters, other dashes, stray bytes: refused."""
    with pytest.raises(CheckpointError):
        parse_checkpoint(note, PUBLIC)


ANYONE = NoteSignature("name", bytes(4), b"s")


@pytest.mark.parametrize("control", [*map(chr, range(10)), *map(chr, range(11, 32))])
def test_a_note_holds_no_control_character(control: str) -> None:
    """A note is shown to people: no escape, tab or carriage return passes, whoever signed it."""
    with pytest.raises(CheckpointError, match="control character"):
        parse_note(format_note(f"a{control}b\n", [ANYONE]))


def test_a_note_is_bounded() -> None:
    """Sixteen signatures are read, as C2SP demands; more, or more bytes, are not."""
    assert len(parse_note(format_note("a\n", [ANYONE] * MAX_SIGNATURES))[1]) == MAX_SIGNATURES
    with pytest.raises(CheckpointError, match="17 signatures"):
        parse_note(format_note("a\n", [ANYONE] * (MAX_SIGNATURES + 1)))
    fill = MAX_NOTE - len(format_note("\n", [ANYONE]))
    assert len(format_note("a" * fill + "\n", [ANYONE])) == MAX_NOTE
    parse_note(format_note("a" * fill + "\n", [ANYONE]))
    with pytest.raises(CheckpointError, match="bytes"):
        parse_note(format_note("a" * (fill + 1) + "\n", [ANYONE]))


def test_blank_lines_in_the_text_belong_to_the_text() -> None:
    """The last blank line ends the text, so what is signed cannot be made to look shorter."""
    signature = NoteSignature("name", bytes(4), b"s")
    assert parse_note(format_note("a\n\nb\n", [signature])) == ("a\n\nb\n", [signature])


@given(st.integers(0, len(NOTE) - 1), st.integers(1, 255))
def test_every_byte_of_a_checkpoint_counts(at: int, flip: int) -> None:
    """No byte can be changed without the checkpoint being refused."""
    note = bytearray(NOTE)
    note[at] ^= flip
    with pytest.raises(CheckpointError):
        parse_checkpoint(bytes(note), PUBLIC)


@given(st.binary(max_size=300) | st.text(max_size=300).map(str.encode))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    """Whatever the bytes, the error is of this package."""
    for note in (data, TEXT + BLANK + data, data + NOTE):
        if note != NOTE:
            with pytest.raises(CheckpointError):
                parse_checkpoint(note, PUBLIC)


def test_a_checkpoint_advances_with_a_proof() -> None:
    """A later checkpoint is accepted if it is shown to contain the earlier one."""
    entries = ledger(9)
    tree = subtree_of([entry.digest for entry in entries])
    for old in range(10):
        before = Checkpoint("alpha", old, root_of(entries[:old]))
        after = Checkpoint("alpha", 9, root_of(entries))
        check_advance(before, after, consistency_proof(old, 9, tree))


def test_a_rolled_back_ledger_is_named() -> None:
    """A later checkpoint over fewer entries means that the ledger was set back."""
    entries = ledger(9)
    before = Checkpoint("alpha", 9, root_of(entries))
    after = Checkpoint("alpha", 6, root_of(entries[:6]))
    with pytest.raises(CheckpointError) as caught:
        check_advance(before, after, ())
    assert caught.value.code == "ROLLED_BACK"


@pytest.mark.parametrize("at", [0, 3, 5, 7])
def test_a_forked_ledger_is_named(at: int) -> None:
    """A ledger set back and gone on, however long by now, cannot prove the old checkpoint."""
    entries = ledger(8)
    forked = fork(entries, at, 4)
    tree = subtree_of([entry.digest for entry in forked])
    before = Checkpoint("alpha", 8, root_of(entries))
    after = Checkpoint("alpha", len(forked), root_of(forked))
    proof = consistency_proof(min(8, after.size), after.size, tree)
    with pytest.raises(CheckpointError) as caught:
        check_advance(before, after, proof)
    assert caught.value.code == ("ROLLED_BACK" if after.size < 8 else "FORKED")


def test_checkpoints_of_two_chains_do_not_advance() -> None:
    """One chain's checkpoint never follows another's."""
    with pytest.raises(CheckpointError, match="OTHER_CHAIN"):
        check_advance(CHECKPOINT, Checkpoint("beta", 8, ROOT), ())


@pytest.mark.parametrize(
    ("chain", "size", "root"),
    [
        ("Alpha", 1, ROOT),
        ("alpha", -1, ROOT),
        ("alpha", True, ROOT),
        ("alpha", 2**53, ROOT),
        ("alpha", 1, ROOT[:-1]),
        ("alpha", 0, ROOT),
    ],
)
def test_a_checkpoint_is_checked_before_it_is_signed(chain: str, size: int, root: bytes) -> None:
    """What could not be parsed back cannot be made."""
    with pytest.raises(CheckpointError, match="MALFORMED"):
        Checkpoint(chain, size, root)


def test_an_empty_ledger_has_a_checkpoint() -> None:
    """Size 0 with the root of the empty tree: so a ledger wiped at birth can be shown."""
    empty = Checkpoint("alpha", 0, EMPTY_ROOT)
    assert parse_checkpoint(sign(empty, KEYS), PUBLIC) == empty
