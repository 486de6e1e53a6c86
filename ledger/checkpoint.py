"""Checkpoints: the signed head of a ledger, in C2SP tlog-checkpoint form.

Trusted to sign a checkpoint with both keys, and to accept one only if both verify: one that
stands on Ed25519 alone is what an attacker with a quantum computer would offer, one on ML-DSA-65
alone would fall with the younger scheme. The text is exactly three lines: origin
(`stockade/<chain>`), size, root. The size is the sequence number of the last entry covered, the
root that of the RFC 6962 tree over the entries' digests (`ledger.merkle`).

ML-DSA-65 signs the note text in the FIPS 204 context "stockade.ledger/checkpoint/v1"; Ed25519
signs it bare, as C2SP says. A text begins with "stockade/" and holds no NUL, so it is never the
message of a receipt, which the same Ed25519 key signs.

Signatures of keys unknown here (a witness's) are ignored, as C2SP demands. Raises
CheckpointError, and KeyFileError where ML-DSA-65 is not available.
"""

import base64
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NoReturn

from ledger.canonical import MAX_INTEGER
from ledger.errors import CheckpointError, Fault, ProofError, ReceiptError
from ledger.keys import Keys, Signing, name_of
from ledger.merkle import EMPTY_ROOT, HASH_SIZE, verify_consistency
from ledger.note import NoteSignature, decode_base64, format_note, parse_note
from ledger.receipt import check_chain

_CONTEXT: Final = b"stockade.ledger/checkpoint/v1"
_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,15}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How long a chain was, and the root over all of it. Trust one that `parse_checkpoint` gave."""

    chain: str
    size: int
    root: bytes

    def __post_init__(self) -> None:
        try:
            check_chain(self.chain)
        except ReceiptError as error:
            raise CheckpointError("MALFORMED", error.message) from error
        if type(self.size) is not int or not 0 <= self.size <= MAX_INTEGER:
            _refuse("MALFORMED", "the size is not a count of entries")
        if type(self.root) is not bytes or len(self.root) != HASH_SIZE:
            _refuse("MALFORMED", "the root is not 32 bytes")
        if self.size == 0 and self.root != EMPTY_ROOT:
            _refuse("MALFORMED", "the root of no entries is not that of the empty tree")

    @property
    def text(self) -> str:
        """The note text that is signed."""
        return f"{name_of(self.chain)}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def sign(checkpoint: Checkpoint, keys: Signing) -> bytes:
    """The signed note. Whoever signs vouches that it follows every checkpoint signed before."""
    if checkpoint.chain != keys.chain:
        _refuse(Fault.OTHER_CHAIN, "the keys are of another chain")
    public = keys.public()
    message = checkpoint.text.encode()
    signatures = (keys.signer().sign(message), keys.sign_mldsa65(message, _CONTEXT))
    return format_note(
        checkpoint.text,
        [
            NoteSignature(public.name, key_id, signature)
            for key_id, signature in zip(public.key_ids, signatures, strict=True)
        ],
    )


def parse_checkpoint(note: bytes, known: Keys) -> Checkpoint:
    """The checkpoint in a note that both keys signed: those in force at the size it claims."""
    text, signatures = parse_note(note)
    message, keys = text.encode(), known.of(_claimed_size(text) + 1)
    ed25519, mldsa65 = (_signature_of(keys.name, key_id, signatures) for key_id in keys.key_ids)
    if not keys.verifies_ed25519(message, ed25519):
        _refuse(Fault.BAD_SIGNATURE, "the Ed25519 signature does not verify")
    if not keys.verifies_mldsa65(message, mldsa65, _CONTEXT):
        _refuse(Fault.BAD_SIGNATURE, "the ML-DSA-65 signature does not verify")
    # Only now is the text looked at: a note's text means nothing before its signatures verify.
    return _parse_text(text, keys.chain)


def check_advance(old: Checkpoint, new: Checkpoint, proof: Sequence[bytes]) -> None:
    """Refuse `new` unless it only adds to what `old` vouched for."""
    if old.chain != new.chain:
        _refuse(Fault.OTHER_CHAIN, "the checkpoints are of two chains")
    if new.size < old.size:
        _refuse(
            Fault.ROLLED_BACK,
            f"the ledger had {old.size} entries and now has {new.size}",
        )
    try:
        verify_consistency(old.size, old.root, new.size, new.root, proof)
    except ProofError as error:
        raise CheckpointError(
            Fault.FORKED, f"the first {old.size} entries are not shown to be the same"
        ) from error


def _signature_of(name: str, key_id: bytes, signatures: list[NoteSignature]) -> bytes:
    found = [item.signature for item in signatures if (item.name, item.key_id) == (name, key_id)]
    if len(found) != 1:
        _refuse("SIGNATURES", "a checkpoint has one signature of each of the chain's two keys")
    return found[0]


def _claimed_size(text: str) -> int:
    """What only chooses the keys: the text is looked at when they have signed it."""
    lines = text.split("\n")
    return int(lines[1]) if len(lines) > 1 and _SIZE.fullmatch(lines[1]) else 0


def _parse_text(text: str, chain: str) -> Checkpoint:
    lines = text.split("\n")
    if len(lines) != 4 or _SIZE.fullmatch(lines[1]) is None:  # three lines and the end
        _refuse("MALFORMED", "a checkpoint is three lines: origin, size, root")
    if lines[0] != name_of(chain):
        _refuse(Fault.OTHER_CHAIN, "the origin is not this chain's")
    root = decode_base64(lines[2])
    if root is None:
        _refuse("MALFORMED", "the root is not base64")
    return Checkpoint(chain, int(lines[1]), root)


def _refuse(code: str, message: str) -> NoReturn:
    raise CheckpointError(code, message)
