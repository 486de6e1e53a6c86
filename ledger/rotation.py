"""Changing the keys of a ledger: one receipt, signed by both schemes of the old keys and the new.

    body  {"from": <public key file>, "to": <public key file>,
           "signatures": {"from_ml_dsa_65": <base64>, "to_ed25519": <base64>,
                          "to_ml_dsa_65": <base64>}, ...}

The old Ed25519 key signs the receipt, as it signs any other; the three signatures of the body are
over all of the receipt without them, its place in the chain and the entry before it included:

    message = "stockade.ledger/key-rotation/v1" NUL <canonical receipt without body.signatures>

ML-DSA-65 signs in the FIPS 204 context of the same name. So whoever has one of the two schemes of
the old keys, or is told new keys that nobody holds, changes nothing. What the receipt hands over
is all that follows it; checkpoints of a size from its own number on are signed by the new keys.

Frozen, and the only kind whose body the ledger reads. Trusted to give the keys that follow only if
every signature is there. Raises RotationError.
"""

import base64
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, NoReturn

from ledger.errors import Fault, KeyFileError, RotationError
from ledger.keys import PublicKeys, Signing, encode_public, parse_public
from ledger.note import decode_base64
from ledger.receipt import Receipt

KIND: Final = "ledger.keys_rotated"
_DOMAIN: Final = b"stockade.ledger/key-rotation/v1"
_SIGNATURES: Final = ("from_ml_dsa_65", "to_ed25519", "to_ml_dsa_65")


def rotation_body(old: PublicKeys, new: PublicKeys) -> dict[str, object]:
    """What the body of the receipt says of the keys; the caller adds who asked for it."""
    return {"from": encode_public(old).decode(), "to": encode_public(new).decode()}


def seal(receipt: Receipt, old: Signing, new: Signing) -> Receipt:
    """The receipt with the three signatures; it is then signed and chained as any other is."""
    message = _message(receipt)
    signatures = (
        old.sign_mldsa65(message, _DOMAIN),
        new.signer().sign(message),
        new.sign_mldsa65(message, _DOMAIN),
    )
    texts = [base64.b64encode(one).decode() for one in signatures]
    found = dict(zip(_SIGNATURES, texts, strict=True))
    return replace(receipt, body={**receipt.body, "signatures": found})


def keys_before(receipt: Receipt) -> PublicKeys:
    """The keys that a rotation says it takes out of use; whether it may is for `keys_after`."""
    return _keys(receipt.body.get("from"))


def keys_after(receipt: Receipt, keys: PublicKeys) -> PublicKeys:
    """The keys in force after an authentic receipt of this kind, which `keys` have to have signed.

    That the old Ed25519 key signed the receipt is what made it authentic.
    """
    if receipt.body.get("from") != encode_public(keys).decode():
        _refuse("it takes other keys out of use than those in force")
    new = _keys(receipt.body.get("to"))
    if new.chain != keys.chain:
        _refuse("the new keys are of another chain")
    if new.ed25519 == keys.ed25519 or new.mldsa65 == keys.mldsa65:
        _refuse("one of the keys stays the same")
    old_mldsa, new_ed25519, new_mldsa = _signatures(receipt.body)
    message = _message(receipt)
    if not keys.verifies_mldsa65(message, old_mldsa, _DOMAIN):
        _refuse("the old ML-DSA-65 key has not signed it")
    if not new.verifies_ed25519(message, new_ed25519):
        _refuse("the new Ed25519 key has not signed it")
    if not new.verifies_mldsa65(message, new_mldsa, _DOMAIN):
        _refuse("the new ML-DSA-65 key has not signed it")
    return new


def _message(receipt: Receipt) -> bytes:
    body = {name: value for name, value in receipt.body.items() if name != "signatures"}
    return _DOMAIN + b"\x00" + replace(receipt, body=body).canonical()


def _signatures(body: Mapping[str, object]) -> list[bytes]:
    found = body.get("signatures")
    if not isinstance(found, Mapping) or set(found) != set(_SIGNATURES):
        _refuse("it has not exactly the three further signatures")
    texts = [found[name] for name in _SIGNATURES]
    blobs = [decode_base64(text) if isinstance(text, str) else None for text in texts]
    whole = [blob for blob in blobs if blob is not None]
    return whole if len(whole) == len(blobs) else _refuse("a signature is not base64")


def _keys(text: object) -> PublicKeys:
    try:
        if isinstance(text, str):
            return parse_public(text.encode())
    except (KeyFileError, UnicodeEncodeError):
        pass
    return _refuse("its keys are none")


def _refuse(message: str) -> NoReturn:
    raise RotationError(Fault.BAD_ROTATION, message)
