"""Keys that change: by both, by one of them, by strangers, and those that are out of use."""

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from ledger.authentic import Reader
from ledger.canonical import encode
from ledger.chain import Chain, Entry, Head
from ledger.checkpoint import Checkpoint, parse_checkpoint, sign
from ledger.cosign import add_signatures, cosign, parse_cosigned
from ledger.errors import BadEntry, CheckpointError, Fault, KeyFileError, RotationError
from ledger.export import encode_line
from ledger.keys import SigningKeys, encode_public
from ledger.lineage import Lineage, encode_lineage, lineage_of, parse_lineage
from ledger.receipt import Receipt, message_of
from ledger.rotation import KIND, rotation_body, seal
from ledger.verify import verify

from .specimen import KEYS, PUBLIC, START_MS, extend, line_of, lines_of, root_of, uuid7
from .test_tampering import edits, rehash

NEW = SigningKeys("alpha", bytes([11]) * 32, bytes([12]) * 32)
NEWER = SigningKeys("alpha", bytes([13]) * 32, bytes([14]) * 32)
THIEF = SigningKeys("alpha", bytes([15]) * 32, bytes([16]) * 32)
Seal = Callable[[Receipt], Receipt]


def rotate(chain: Chain, old: SigningKeys, new: SigningKeys, how: Seal | None = None) -> Entry:
    """Hand over, as the daemon does; or as somebody does who has not all of the keys."""
    number = 0 if chain.head is None else chain.head.sequence
    body = {"principal": "device/x", **rotation_body(old.public(), new.public())}
    sealed = how or partial(seal, old=old, new=new)
    return chain.hand_over(
        KIND, body, sealed, new.signer(), receipt_id=uuid7(number), now_ms=START_MS + 1000 * number
    )


def rotated() -> list[Entry]:
    """Three entries, a rotation, three entries, another rotation, two entries."""
    chain = Chain("alpha", KEYS.signer(), None)
    entries = extend(chain, 3)
    entries.append(rotate(chain, KEYS, NEW))
    entries += extend(chain, 3, first=4)
    entries.append(rotate(chain, NEW, NEWER))
    return [*entries, *extend(chain, 2, first=8)]


ENTRIES = rotated()
LINES = lines_of(ENTRIES)
FIRST, SECOND = LINES[3], LINES[7]
LINEAGE = lineage_of(PUBLIC, [FIRST, SECOND])


def fault(lines: list[bytes], keys: Any = PUBLIC) -> tuple[str, int]:
    with pytest.raises(BadEntry) as caught:
        verify(lines, keys)
    return caught.value.code, caught.value.line


def test_the_verifier_follows_from_the_first_keys() -> None:
    """Whoever pinned the first keys verifies all that follows, and is told who signs now."""
    found = verify(LINES, PUBLIC)
    assert (found.count, found.keys) == (10, LINEAGE)
    assert found.keys.current == NEWER.public()
    assert verify(LINES, LINEAGE).keys == LINEAGE
    assert [LINEAGE.of(n) for n in (4, 5, 8, 9)] == [
        *(PUBLIC, NEW.public(), NEW.public(), NEWER.public())
    ]


def test_the_new_keys_alone_are_no_pin_for_what_came_before() -> None:
    """Keys that signed nothing of the beginning do not vouch for it."""
    assert fault(LINES, NEW.public()) == (Fault.BAD_SIGNATURE, 1)


@pytest.mark.parametrize("stolen", [KEYS, NEW])
def test_a_key_out_of_use_signs_nothing_any_more(stolen: SigningKeys) -> None:
    """An entry after the rotation by keys from before it is refused, wherever it stands."""
    at = 4 if stolen is KEYS else 8
    last = ENTRIES[at - 1]
    chain = Chain("alpha", stolen.signer(), Head("alpha", at, last.digest, last.time))
    assert fault([*LINES[:at], *lines_of(extend(chain, 2, first=at))]) == (
        *(Fault.BAD_SIGNATURE, at + 1),
    )


MIXED = SigningKeys("alpha", KEYS.ed25519_seed, NEW.mldsa65_seed)
ELSEWHERE = SigningKeys("omega", bytes([17]) * 32, bytes([18]) * 32)
TAKEN: Any = json.loads(FIRST)["receipt"]["body"]["signatures"]


def lacking(receipt: Receipt) -> Receipt:
    sealed = seal(receipt, KEYS, NEW)
    signatures: Any = sealed.body["signatures"]
    one = {"to_ed25519": signatures["to_ed25519"]}
    return replace(sealed, body={**sealed.body, "signatures": one})


FORGED: dict[str, Seal] = {
    "by the old Ed25519 key alone": lambda receipt: seal(receipt, THIEF, THIEF),
    "by the old keys alone": lambda receipt: seal(receipt, KEYS, THIEF),
    "without the old ML-DSA-65 key": lambda receipt: seal(receipt, THIEF, NEW),
    "with the signatures of another rotation": lambda receipt: replace(
        receipt, body={**receipt.body, "signatures": TAKEN}
    ),
    "with a signature left out": lacking,
    "without signatures": lambda receipt: receipt,
    "for keys that stay": lambda receipt: seal(
        replace(receipt, body=rotation_body(PUBLIC, PUBLIC)), KEYS, KEYS
    ),
    "for an Ed25519 key that stays": lambda receipt: seal(
        replace(receipt, body=rotation_body(PUBLIC, MIXED.public())), KEYS, MIXED
    ),
    "of other keys": lambda receipt: seal(
        replace(receipt, body=rotation_body(THIEF.public(), NEW.public())), THIEF, NEW
    ),
    "to another chain's keys": lambda receipt: seal(
        replace(receipt, body=rotation_body(PUBLIC, ELSEWHERE.public())), KEYS, ELSEWHERE
    ),
    "to no keys": lambda receipt: seal(
        replace(receipt, body={"from": encode_public(PUBLIC).decode(), "to": "x"}), KEYS, NEW
    ),
}


@pytest.mark.parametrize("how", FORGED)
def test_a_rotation_that_not_both_have_signed_changes_nothing(how: str) -> None:
    """By one key, by a foreign one, with signatures from elsewhere: BAD_ROTATION, at that entry."""
    chain = Chain("alpha", KEYS.signer(), None)
    entries = extend(chain, 5)
    entries.append(rotate(chain, KEYS, NEW, FORGED[how]))
    lines = lines_of([*entries, *extend(chain, 1, first=6)])
    assert fault(lines) == (Fault.BAD_ROTATION, 6)
    with pytest.raises(RotationError):
        lineage_of(PUBLIC, [lines[5]])


def test_keys_that_were_in_force_before_never_are_again() -> None:
    """Back to the first keys would make what signs now a question of where one looks."""
    chain = Chain("alpha", KEYS.signer(), None)
    entries = [*extend(chain, 1), rotate(chain, KEYS, NEW), rotate(chain, NEW, KEYS)]
    assert fault(lines_of(entries)) == (Fault.BAD_ROTATION, 3)


def test_every_edit_of_a_rotation_is_named() -> None:
    """Every field of it, the signatures too: with its digest, a new one, and signed anew."""
    for what, fields in edits(json.loads(FIRST)):
        for resign in (False, True):
            changed = json.loads(json.dumps(fields))
            if resign:
                digest = rehash(changed)

                signature = KEYS.signer().sign(message_of(digest))
                changed["sig"] = base64.b64encode(signature).decode()
            found = fault([*LINES[:3], line_of(changed), *LINES[4:]])
            assert found[1] in ((4, 5) if resign else (4,)), what
            with pytest.raises((RotationError, KeyFileError)):
                parse_lineage(encode_public(PUBLIC) + encode(changed) + b"\n")


def test_every_deletion_swap_and_copy_around_a_rotation_is_named() -> None:
    """No place of the ledger is one where entries can be taken out, moved or put in."""
    for at in range(9):
        code, line = fault(LINES[:at] + LINES[at + 1 :])
        assert (line, code in {Fault.MISSING, Fault.BAD_SIGNATURE}) == (at + 1, True)
        assert fault([*LINES[: at + 1], LINES[at], *LINES[at + 1 :]]) == (Fault.DUPLICATE, at + 2)
        code, line = fault([*LINES[:at], LINES[at + 1], LINES[at], *LINES[at + 2 :]])
        assert (line, code in {Fault.REORDERED, Fault.BAD_SIGNATURE}) == (at + 1, True)


def test_a_rotation_of_thieves_does_not_stand_beside_one_that_is_pinned() -> None:
    """Who has stolen the first keys makes another second history: a pinned lineage refuses it."""
    chain = Chain("alpha", KEYS.signer(), None)
    forged = [*extend(chain, 3), rotate(chain, KEYS, THIEF), *extend(chain, 3, first=4)]
    lines = lines_of(forged)
    assert verify(lines, PUBLIC).keys.current == THIEF.public()
    assert fault(lines, LINEAGE) == (Fault.FORKED, 4)
    with pytest.raises(KeyFileError) as refused:
        LINEAGE.extended(lineage_of(PUBLIC, [lines[3]]))
    assert refused.value.code == "OTHER_KEYS"
    later = Chain("alpha", KEYS.signer(), None)
    moved = [*extend(later, 4), rotate(later, KEYS, THIEF)]
    assert fault(lines_of(moved), LINEAGE) == (Fault.FORKED, 4)


def test_a_lineage_is_a_key_file_that_grew() -> None:
    """Without rotations it is the file that there always was; each line stands for itself."""
    assert encode_lineage(Lineage(PUBLIC)) == encode_public(PUBLIC)
    text = encode_lineage(LINEAGE)
    assert text == encode_public(PUBLIC) + FIRST + SECOND
    assert parse_lineage(text) == LINEAGE
    assert Lineage(PUBLIC).extended(LINEAGE) == LINEAGE == LINEAGE.extended(Lineage(PUBLIC))
    bad = (text[:-1], text + b"\n", text + SECOND, encode_public(PUBLIC) + SECOND)
    for data in (*bad, encode_public(PUBLIC) + LINES[2], encode_public(NEW.public()) + FIRST):
        with pytest.raises((KeyFileError, RotationError)):
            parse_lineage(data)


def test_a_checkpoint_is_by_the_keys_of_its_size() -> None:
    """Before the rotation by the old keys, from its entry on by the new; never the other way."""
    for size in range(1, 11):
        checkpoint = Checkpoint("alpha", size, root_of(ENTRIES[:size]))
        right = KEYS if size < 4 else NEW if size < 8 else NEWER
        for keys in (KEYS, NEW, NEWER):
            note = sign(checkpoint, keys)
            if keys is right:
                assert parse_checkpoint(note, LINEAGE) == checkpoint
            else:
                with pytest.raises(CheckpointError):
                    parse_checkpoint(note, LINEAGE)


def test_a_witness_whose_keys_changed_is_believed_for_its_times() -> None:
    """Its old keys for what they signed then, its new ones for now; neither for the other time."""
    witness = Chain("alpha", KEYS.signer(), None)
    extend(witness, 3)
    rotate(witness, KEYS, NEW)
    ledger_keys = SigningKeys("beta", bytes([21]) * 32, bytes([22]) * 32)
    checkpoint = Checkpoint("beta", 1, bytes(32))
    seconds = START_MS // 1000 + 3
    lineage = lineage_of(PUBLIC, [FIRST])
    for keys, time, good in (
        (KEYS, seconds - 1, True),
        (KEYS, seconds, True),  # in the very second both were
        (KEYS, seconds + 1, False),
        (NEW, seconds - 1, False),
        (NEW, seconds + 1, True),
    ):
        note = add_signatures(sign(checkpoint, ledger_keys), cosign(checkpoint, keys, time))
        if good:
            assert parse_cosigned(note, ledger_keys.public(), lineage) == (checkpoint, time)
        else:
            with pytest.raises(CheckpointError):
                parse_cosigned(note, ledger_keys.public(), lineage)


def test_what_was_rewound_has_not_handed_over() -> None:
    """A rotation whose transaction rolled back leaves the old keys signing under its number."""
    chain = Chain("alpha", KEYS.signer(), None)
    extend(chain, 2)
    head = chain.head
    rotate(chain, KEYS, NEW)
    extend(chain, 1, first=3)
    chain.rewind(head)
    entries = extend(chain, 3, first=2)
    reader = Reader(PUBLIC)
    assert [reader.authentic(encode_line(one)).receipt.sequence for one in entries] == [3, 4, 5]
