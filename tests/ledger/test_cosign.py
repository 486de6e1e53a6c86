"""A witness's word counts with both of its keys, over this checkpoint, at one time."""

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from ledger.checkpoint import Checkpoint, parse_checkpoint, sign
from ledger.cosign import add_signatures, cosign, parse_cosigned
from ledger.errors import CheckpointError
from ledger.note import parse_note

from .specimen import KEYS, OTHER_KEYS, PUBLIC, STOLEN_NAME

CHECKPOINT = Checkpoint("alpha", 7, bytes(range(32)))
WITNESS = OTHER_KEYS.public()
TIME = 1_750_000_000
NOTE = add_signatures(sign(CHECKPOINT, KEYS), cosign(CHECKPOINT, OTHER_KEYS, TIME))


def test_a_cosigned_checkpoint_is_one_still() -> None:
    """Both ledger and witness verify; whoever does not know the witness sees a checkpoint."""
    assert parse_cosigned(NOTE, PUBLIC, WITNESS) == (CHECKPOINT, TIME)
    assert parse_checkpoint(NOTE, PUBLIC) == CHECKPOINT


def test_the_ed25519_cosignature_is_that_of_c2sp() -> None:
    """tlog-cosignature by hand: type 0x04, the time before the signature, and in the message."""
    text, signatures = parse_note(NOTE)
    key_id = hashlib.sha256(b"stockade/beta\n\x04" + WITNESS.ed25519).digest()[:4]
    [found] = [item for item in signatures if item.key_id == key_id]
    assert found.signature[:8] == TIME.to_bytes(8, "big")
    message = f"cosignature/v1\ntime {TIME}\n{text}".encode()
    Ed25519PublicKey.from_public_bytes(WITNESS.ed25519).verify(found.signature[8:], message)


def lines() -> list[bytes]:
    return NOTE.splitlines(keepends=True)


ATTACKS = {
    "no witness": b"".join(lines()[:-2]),
    "without its ML-DSA-65": b"".join(lines()[:-1]),
    "without its Ed25519": b"".join([*lines()[:-2], lines()[-1]]),
    "one twice": b"".join([*lines(), lines()[-1]]),
    "of another checkpoint": add_signatures(
        sign(CHECKPOINT, KEYS), cosign(Checkpoint("alpha", 8, bytes(32)), OTHER_KEYS, TIME)
    ),
    "by another witness": add_signatures(
        sign(CHECKPOINT, KEYS), cosign(CHECKPOINT, STOLEN_NAME, TIME)
    ),
    "of two times": add_signatures(
        sign(CHECKPOINT, KEYS),
        [
            cosign(CHECKPOINT, OTHER_KEYS, TIME)[0],
            cosign(CHECKPOINT, OTHER_KEYS, TIME + 1)[1],
        ],
    ),
    "the ledger's own stripped": b"".join([*lines()[:4], *lines()[5:]]),
}


@pytest.mark.parametrize("how", ATTACKS)
def test_what_is_less_is_refused(how: str) -> None:
    """One key of two, another's, of something else, or twice: no cosignature."""
    with pytest.raises(CheckpointError):
        parse_cosigned(ATTACKS[how], PUBLIC, WITNESS)


def test_the_time_cannot_be_moved() -> None:
    """It is signed: another one before the same signature does not verify."""
    text, signatures = parse_note(sign(CHECKPOINT, KEYS))
    moved = [
        type(item)(item.name, item.key_id, (TIME + 60).to_bytes(8, "big") + item.signature[8:])
        for item in cosign(CHECKPOINT, OTHER_KEYS, TIME)
    ]
    assert text
    assert signatures
    with pytest.raises(CheckpointError):
        parse_cosigned(add_signatures(sign(CHECKPOINT, KEYS), moved), PUBLIC, WITNESS)


def test_a_checkpoints_signature_is_no_cosignature() -> None:
    """What a ledger signs of its own is never its word about another's, nor the other way."""
    own = sign(Checkpoint("beta", 7, bytes(range(32))), OTHER_KEYS)
    with pytest.raises(CheckpointError):
        parse_cosigned(add_signatures(sign(CHECKPOINT, KEYS), parse_note(own)[1]), PUBLIC, WITNESS)
