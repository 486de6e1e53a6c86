"""Sealing values: a data key per value, wrapped under the root key.

Trusted to open a value only as the secret it was sealed as. Scope, name and version are
authenticated (as AES-256-GCM's additional data) with both the wrapped key and the value, each with
a length before it, so that a blob moved to another name, another scope or another version in the
database does not open, and no two triples have the same bytes. Pure: randomness comes in. Raises
`SealedError` (and `RootError` with ROOT_MISMATCH), never a partial value.

The format, version 1, is frozen:

    4 bytes   "SKDV"
    1 byte    format version, 1
    8 bytes   id of the root key
    12 bytes  nonce of the wrapped data key
    48 bytes  data key, encrypted and authenticated
    12 bytes  nonce of the value
    17 to 65,552 bytes  value, encrypted and authenticated

A later version gets another version byte; this reader refuses it rather than guess. What sealing
does not promise: an old blob put back under its own name and version opens. Versions only grow,
and the daemon's records say which is current.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final, NewType, final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vault.burn import burn
from vault.errors import Code, SealedError
from vault.reference import Scope, SecretName
from vault.rootkey import RootKey, RootKeyId
from vault.secret import Secret

MAX_VALUE: Final = 65_536
Random = Callable[[int], bytes]
SecretVersion = NewType("SecretVersion", int)
"""The version of a secret: 1 for the first value put, one more for each later one."""

_What = tuple[Scope, SecretName, SecretVersion]
_MAGIC: Final = b"SKDV"
_FORMAT: Final = 1
_ID, _NONCE, _KEY, _TAG = 8, 12, 32, 16
_HEADER: Final = len(_MAGIC) + 1 + _ID + _NONCE + _KEY + _TAG + _NONCE


@final
@dataclass(frozen=True, slots=True)
class Sealed:
    """A sealed value; holds nothing that may not be stored in the clear."""

    root_key_id: RootKeyId
    wrap_nonce: bytes = field(repr=False)
    wrapped_key: bytes = field(repr=False)
    value_nonce: bytes = field(repr=False)
    ciphertext: bytes = field(repr=False)

    def to_bytes(self) -> bytes:
        """Write the frozen format."""
        return b"".join(
            (
                _MAGIC,
                bytes([_FORMAT]),
                bytes.fromhex(self.root_key_id),
                self.wrap_nonce,
                self.wrapped_key,
                self.value_nonce,
                self.ciphertext,
            )
        )


def parse_sealed(data: bytes) -> Sealed:
    """Read the frozen format; the inverse of `Sealed.to_bytes`."""
    if data[:4] != _MAGIC or len(data) < 5:
        raise _malformed("these bytes are not a sealed value")
    if data[4] != _FORMAT:
        raise SealedError(
            Code.SEALED_FORMAT_UNKNOWN,
            f"sealed format {data[4]} is unknown to this version",
            "use the version of stockaded that sealed it, or a later one",
        )
    if not _HEADER + 1 + _TAG <= len(data) <= _HEADER + MAX_VALUE + _TAG:
        raise _malformed(f"a sealed value cannot have {len(data)} bytes")
    fields = []
    start = len(_MAGIC) + 1
    for length in (_ID, _NONCE, _KEY + _TAG, _NONCE):
        fields.append(data[start : start + length])
        start += length
    key_id, wrap_nonce, wrapped_key, value_nonce = fields
    return Sealed(RootKeyId(key_id.hex()), wrap_nonce, wrapped_key, value_nonce, data[start:])


def seal(
    root: RootKey,
    scope: Scope,
    name: SecretName,
    version: SecretVersion,
    value: Secret,
    random: Random = os.urandom,
) -> Sealed:
    """Encrypt a value under a fresh data key."""
    with value.view() as clear:
        return _seal(root, (scope, name, version), clear, random)


def _seal(root: RootKey, what: _What, clear: memoryview, random: Random) -> Sealed:
    if not clear:
        raise SealedError(Code.VALUE_EMPTY, "an empty value is no secret", "give a value")
    if len(clear) > MAX_VALUE:
        raise SealedError(
            Code.VALUE_TOO_LARGE,
            f"a secret may have {MAX_VALUE} bytes, not {len(clear)}",
            "store a key to the data instead of the data",
        )
    data_key, wrap_nonce, value_nonce = random(_KEY), random(_NONCE), random(_NONCE)
    wrapped = root.wrap(wrap_nonce, data_key, _bound(b"key", *what))
    ciphertext = AESGCM(data_key).encrypt(value_nonce, clear, _bound(b"value", *what))
    burn(data_key)
    return Sealed(root.key_id, wrap_nonce, wrapped, value_nonce, ciphertext)


def open_sealed(
    root: RootKey, scope: Scope, name: SecretName, version: SecretVersion, sealed: Sealed
) -> Secret:
    """Decrypt a value, if it was sealed under this root as exactly this secret."""
    data_key = _data_key(root, scope, name, version, sealed)
    bound_to = _bound(b"value", scope, name, version)
    cipher = AESGCM(data_key)
    burn(data_key)
    try:
        # ValueError here and there: shorter than a tag, from a hand-made Sealed.
        return Secret.written(
            len(sealed.ciphertext) - _TAG,
            lambda place: cipher.decrypt_into(
                sealed.value_nonce, sealed.ciphertext, bound_to, place
            ),
        )
    except (InvalidTag, ValueError):
        raise _tampered() from None


def rewrap(
    old_root: RootKey,
    new_root: RootKey,
    scope: Scope,
    name: SecretName,
    version: SecretVersion,
    sealed: Sealed,
    random: Random = os.urandom,
) -> Sealed:
    """Move a sealed value to another root; the value itself is not decrypted."""
    data_key = _data_key(old_root, scope, name, version, sealed)
    nonce = random(_NONCE)
    wrapped = new_root.wrap(nonce, data_key, _bound(b"key", scope, name, version))
    burn(data_key)
    return replace(sealed, root_key_id=new_root.key_id, wrap_nonce=nonce, wrapped_key=wrapped)


def _data_key(
    root: RootKey, scope: Scope, name: SecretName, version: SecretVersion, sealed: Sealed
) -> bytes:
    root.require(sealed.root_key_id)
    bound_to = _bound(b"key", scope, name, version)
    data_key = root.unwrap(sealed.wrap_nonce, sealed.wrapped_key, bound_to)
    if data_key is None:
        raise _tampered()
    return data_key


def _bound(what: bytes, scope: Scope, name: SecretName, version: SecretVersion) -> bytes:
    if not 0 < version < 2**63:
        raise SealedError(
            Code.VERSION_OUT_OF_RANGE, f"{version} is no version", "versions start at 1"
        )
    parts = (
        b"stockade vault sealed v1 " + what,
        scope.encode("ascii"),
        name.encode("ascii"),
        version.to_bytes(8, "big"),
    )
    # Lengths first: otherwise ("a", "bc") and ("ab", "c") would be the same secret.
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)


def _malformed(message: str) -> SealedError:
    return SealedError(Code.SEALED_MALFORMED, message, "restore the database from a backup")


def _tampered() -> SealedError:
    return SealedError(
        Code.SEALED_TAMPERED,
        "the sealed value was changed, or moved from another secret or version",
        "restore the database from a backup, or put the secret again",
    )
