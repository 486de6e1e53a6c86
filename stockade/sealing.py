"""Sealing a value to a vault's public key, so that nobody on its way can read it.

A libsodium sealed box around the reference and the value: whoever passes it on can neither read it
nor put it under another name. The form is the vault's, in docs/formats.md. Raises ValueError for a
key that is none.
"""

from typing import Final

_MAGIC: Final = b"stockade-submission-v1"


def seal_to(public_key: bytes, reference: str, value: bytes) -> bytes:
    """The value, sealed for this reference of the vault with this key."""
    from nacl.exceptions import TypeError as BadType
    from nacl.exceptions import ValueError as BadValue
    from nacl.public import PublicKey, SealedBox

    name = reference.encode("ascii")
    framed = _MAGIC + len(name).to_bytes(2, "big") + name + value
    try:
        return bytes(SealedBox(PublicKey(public_key)).encrypt(framed))
    except (BadType, BadValue) as error:
        raise ValueError(str(error)) from None
