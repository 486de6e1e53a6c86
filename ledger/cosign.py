"""Cosignatures: a witness says that it saw a checkpoint, at a time, and that it followed the last.

C2SP tlog-cosignature: the message is "cosignature/v1", a line with the time in seconds, and the
text of the checkpoint; the signature has the time before it, 8 bytes big-endian. A witness signs
with both of its keys, and both have to verify, as with a checkpoint itself:
  0x04                                             Ed25519, as C2SP has it
  0xff "stockade.ledger/ml-dsa-65-cosignature/v1"  ML-DSA-65, in the FIPS 204 context
                                                   "stockade.ledger/cosignature/v1"
Trusted to take nothing for a cosignature of this checkpoint by this witness that is none. Raises
CheckpointError.
"""

import hashlib
from collections.abc import Sequence
from typing import Final, NoReturn, Protocol

from ledger.checkpoint import Checkpoint, parse_checkpoint
from ledger.errors import CheckpointError, Fault
from ledger.keys import Keys, PublicKeys, Signing
from ledger.note import NoteSignature, format_note, parse_note

_ED25519: Final = b"\x04"
_MLDSA65: Final = b"\xffstockade.ledger/ml-dsa-65-cosignature/v1"
_CONTEXT: Final = b"stockade.ledger/cosignature/v1"
_TIME_SIZE: Final = 8


def cosign(checkpoint: Checkpoint, keys: Signing, seconds: int) -> list[NoteSignature]:
    """A witness's two signatures. Whoever signs vouches that it follows all it signed before."""
    message, time = _message(checkpoint.text, seconds), seconds.to_bytes(_TIME_SIZE, "big")
    signatures = (keys.signer().sign(message), keys.sign_mldsa65(message, _CONTEXT))
    public = keys.public()
    return [
        NoteSignature(public.name, key_id, time + signature)
        for key_id, signature in zip(_key_ids(public), signatures, strict=True)
    ]


def add_signatures(note: bytes, signatures: list[NoteSignature]) -> bytes:
    """The note with further signature lines."""
    text, before = parse_note(note)
    return format_note(text, [*before, *signatures])


class WitnessKeys(Protocol):
    """What verifies a witness's word, whose keys may have been rotated (`ledger.lineage`)."""

    @property
    def name(self) -> str:
        """What all of its keys go by in signature lines."""
        ...

    def at(self, seconds: int) -> Sequence[PublicKeys]:
        """The keys that were in force in this second."""
        ...


def parse_cosigned(note: bytes, keys: Keys, witness: WitnessKeys) -> tuple[Checkpoint, int]:
    """A checkpoint that both its ledger and the witness signed, and when the witness did."""
    checkpoint = parse_checkpoint(note, keys)
    _, signatures = parse_note(note)
    refused = CheckpointError("SIGNATURES", "the witness has not signed with each of its two keys")
    times = {_time_of(one) for one in signatures if one.name == witness.name}
    for seconds in sorted(times):
        for one in witness.at(seconds):
            try:
                # With the keys of the very time that is signed: what a key says of another is none.
                if _check(checkpoint, signatures, one) == seconds:
                    return checkpoint, seconds
            except CheckpointError as error:
                refused = error
    raise refused


def _time_of(signature: NoteSignature) -> int:
    return int.from_bytes(signature.signature[:_TIME_SIZE], "big")


def _check(checkpoint: Checkpoint, signatures: list[NoteSignature], witness: PublicKeys) -> int:
    ed25519, mldsa65 = (_of(signatures, witness.name, key_id) for key_id in _key_ids(witness))
    if ed25519[:_TIME_SIZE] != mldsa65[:_TIME_SIZE]:
        _refuse(Fault.BAD_SIGNATURE, "the witness's two signatures are of two times")
    seconds = int.from_bytes(ed25519[:_TIME_SIZE], "big")
    message = _message(checkpoint.text, seconds)
    if not witness.verifies_ed25519(message, ed25519[_TIME_SIZE:]):
        _refuse(Fault.BAD_SIGNATURE, "the witness's Ed25519 signature does not verify")
    if not witness.verifies_mldsa65(message, mldsa65[_TIME_SIZE:], _CONTEXT):
        _refuse(Fault.BAD_SIGNATURE, "the witness's ML-DSA-65 signature does not verify")
    return seconds


def _message(text: str, seconds: int) -> bytes:
    return f"cosignature/v1\ntime {seconds}\n{text}".encode()


def _key_ids(keys: PublicKeys) -> tuple[bytes, bytes]:
    return _key_id(keys.name, _ED25519 + keys.ed25519), _key_id(keys.name, _MLDSA65 + keys.mldsa65)


def _key_id(name: str, key: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + key).digest()[:4]


def _of(signatures: list[NoteSignature], name: str, key_id: bytes) -> bytes:
    found = [item.signature for item in signatures if (item.name, item.key_id) == (name, key_id)]
    if len(found) != 1:
        _refuse("SIGNATURES", "the witness has not signed with each of its two keys")
    return found[0]


def _refuse(code: str, message: str) -> NoReturn:
    raise CheckpointError(code, message)
