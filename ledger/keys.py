"""The keys of a ledger, as values and as text: an Ed25519 and an ML-DSA-65 key per chain.

Trusted to make the keys, to write them as text that names their chain, and to read only what it
would write. Bytes in, bytes out: where the files lie and who may read them is the caller's.
Raises KeyFileError and nothing else; no error and no repr holds key material.

The public file has one C2SP verifier key per line, `name+keyid+base64(type || key)`. The name is
`stockade/` and the chain id, which is also the origin of its checkpoints. Signature types:
  0x01                                     Ed25519, as C2SP has it
  0xff "stockade.ledger/ml-dsa-65/v1"      ML-DSA-65: C2SP has given it no byte (0x06 is ML-DSA-44
                                           for cosignatures, another message), and 0xff followed
                                           by a long name is what it reserves for such types
The private file has the same two lines before which stands `PRIVATE+KEY+`, with seeds for keys.
Both keys are kept as their 32-byte seeds: RFC 8032 and FIPS 204 derive everything from those.
"""

import base64
import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NoReturn, Protocol

import nacl.exceptions
import nacl.signing
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import mldsa

from ledger.chain import Ed25519Signer, Signer
from ledger.errors import KeyFileError, ReceiptError
from ledger.note import decode_base64
from ledger.receipt import check_chain

SEED_SIZE: Final = 32
MAX_KEY_FILE: Final = 16 * 1024
ED25519: Final = b"\x01"
MLDSA65: Final = b"\xffstockade.ledger/ml-dsa-65/v1"

_TYPES: Final = (ED25519, MLDSA65)
_NAME: Final = "stockade/"
_PRIVATE: Final = "PRIVATE+KEY+"
_PUBLIC_SIZES: Final = (32, 1952)
_SEED_SIZES: Final = (SEED_SIZE, SEED_SIZE)


def name_of(chain: str) -> str:
    """The key name of a chain, and the origin of its checkpoints."""
    return _NAME + chain


class Keys(Protocol):
    """What verifies a chain, whose keys may have been rotated (`ledger.lineage`)."""

    @property
    def chain(self) -> str:
        """The chain's id."""
        ...

    def of(self, sequence: int) -> "PublicKeys":
        """The keys that sign this entry, and the checkpoints of so many less one."""
        ...


class Signing(Protocol):
    """What signs a chain, wherever its keys are."""

    @property
    def chain(self) -> str:
        """The chain's id."""
        ...

    def public(self) -> "PublicKeys":
        """The half that may be shown."""
        ...

    def signer(self) -> Signer:
        """The signer of the receipts."""
        ...

    def sign_mldsa65(self, message: bytes, context: bytes) -> bytes:
        """An ML-DSA-65 signature."""
        ...


@dataclass(frozen=True, slots=True)
class PublicKeys:
    """What verifies a chain: its id and both public keys."""

    chain: str
    ed25519: bytes
    mldsa65: bytes = field(repr=False)

    def __post_init__(self) -> None:
        _check_chain(self.chain)
        if tuple(map(len, (self.ed25519, self.mldsa65))) != _PUBLIC_SIZES:
            _refuse("SIZE", "a public key is not of its size")

    @property
    def name(self) -> str:
        """The name both keys go by in signature lines."""
        return name_of(self.chain)

    @property
    def key_ids(self) -> tuple[bytes, bytes]:
        """The four bytes that name each key in a signature line: Ed25519, ML-DSA-65."""
        return (
            _key_id(self.name, ED25519 + self.ed25519),
            _key_id(self.name, MLDSA65 + self.mldsa65),
        )

    def of(self, sequence: int) -> "PublicKeys":  # noqa: ARG002 - see `Keys`
        """These: keys that were never rotated."""
        return self

    def at(self, seconds: int) -> "tuple[PublicKeys, ...]":  # noqa: ARG002
        """These, at any time."""
        return (self,)

    def verifies_ed25519(self, message: bytes, signature: bytes) -> bool:
        """Whether the Ed25519 key signed this."""
        try:
            nacl.signing.VerifyKey(self.ed25519).verify(message, signature)
        except nacl.exceptions.CryptoError:
            return False
        return True

    def verifies_mldsa65(self, message: bytes, signature: bytes, context: bytes) -> bool:
        """Whether the ML-DSA-65 key signed this in this context (FIPS 204, 5.3)."""
        try:
            key = mldsa.MLDSA65PublicKey.from_public_bytes(self.mldsa65)
            key.verify(signature, message, context)
        except (InvalidSignature, ValueError):
            return False
        except UnsupportedAlgorithm:
            _refuse_mldsa()
        return True


@dataclass(frozen=True, slots=True)
class SigningKeys:
    """What signs a chain: its id and both seeds."""

    chain: str
    ed25519_seed: bytes = field(repr=False)
    mldsa65_seed: bytes = field(repr=False)

    def __post_init__(self) -> None:
        _check_chain(self.chain)
        if tuple(map(len, (self.ed25519_seed, self.mldsa65_seed))) != _SEED_SIZES:
            _refuse("SIZE", f"a seed is {SEED_SIZE} bytes")

    def public(self) -> PublicKeys:
        """The half that may be shown."""
        return PublicKeys(
            self.chain,
            bytes(nacl.signing.SigningKey(self.ed25519_seed).verify_key),
            self._mldsa65().public_key().public_bytes_raw(),
        )

    def signer(self) -> Ed25519Signer:
        """The signer of this chain's receipts."""
        return Ed25519Signer(self.ed25519_seed)

    def sign_mldsa65(self, message: bytes, context: bytes) -> bytes:
        """An ML-DSA-65 signature (hedged: another one each time)."""
        return self._mldsa65().sign(message, context)

    def _mldsa65(self) -> mldsa.MLDSA65PrivateKey:
        return mldsa65_key(self.mldsa65_seed)


def mldsa65_key(seed: bytes) -> mldsa.MLDSA65PrivateKey:
    """The ML-DSA-65 key of a seed."""
    try:
        return mldsa.MLDSA65PrivateKey.from_seed_bytes(seed)
    except UnsupportedAlgorithm:
        _refuse_mldsa()


def generate(chain: str, random: Callable[[int], bytes] = secrets.token_bytes) -> SigningKeys:
    """New keys for a chain."""
    return SigningKeys(chain, random(SEED_SIZE), random(SEED_SIZE))


def encode_signing(keys: SigningKeys) -> bytes:
    """The private key file: secret."""
    ids = keys.public().key_ids
    seeds = (keys.ed25519_seed, keys.mldsa65_seed)
    return _encode(_PRIVATE + name_of(keys.chain), ids, seeds)


def encode_public(keys: PublicKeys) -> bytes:
    """The public key file, which an offline verifier is given."""
    return _encode(keys.name, keys.key_ids, (keys.ed25519, keys.mldsa65))


def parse_signing(data: bytes) -> SigningKeys:
    """The signing keys in a private key file."""
    keys = SigningKeys(*_parse(data, _PRIVATE + _NAME))
    return keys if encode_signing(keys) == data else _refuse_form()


def parse_public(data: bytes) -> PublicKeys:
    """The public keys in a public key file."""
    keys = PublicKeys(*_parse(data, _NAME))
    return keys if encode_public(keys) == data else _refuse_form()


def _encode(name: str, ids: tuple[bytes, bytes], keys: tuple[bytes, bytes]) -> bytes:
    lines = [
        f"{name}+{key_id.hex()}+{base64.b64encode(kind + key).decode()}\n"
        for kind, key_id, key in zip(_TYPES, ids, keys, strict=True)
    ]
    return "".join(lines).encode()


def _parse(data: bytes, prefix: str) -> tuple[str, bytes, bytes]:
    """Chain and keys, loosely: the caller refuses all that it would not have written so itself.

    That one comparison covers order, key ids, a second name, white space and stray base64 bits.
    """
    if len(data) > MAX_KEY_FILE or not data.isascii():
        _refuse_form()
    lines = data.decode().split("\n")
    if len(lines) != len(_TYPES) + 1:
        _refuse_form()
    chain = lines[0].removeprefix(prefix).partition("+")[0]
    keys: list[bytes] = []
    for line, kind in zip(lines, _TYPES, strict=False):
        # The base64 may itself contain "+": only the two before it part the fields.
        fields = line.removeprefix(prefix).split("+", 2)
        blob = decode_base64(fields[-1])
        if blob is None or not blob.startswith(kind):
            _refuse_form()
        keys.append(blob.removeprefix(kind))
    return chain, keys[0], keys[1]


def _key_id(name: str, key: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + key).digest()[:4]


def _check_chain(chain: str) -> None:
    try:
        check_chain(chain)
    except ReceiptError as error:
        raise KeyFileError("CHAIN", error.message) from error


def _refuse(code: str, message: str) -> NoReturn:
    raise KeyFileError(code, message) from None


def _refuse_form() -> NoReturn:
    _refuse("MALFORMED", "not a key file of this ledger: two lines, Ed25519 and ML-DSA-65")


def _refuse_mldsa() -> NoReturn:
    raise KeyFileError(
        "NO_ML_DSA",
        "this cryptography library cannot do ML-DSA-65",
        "install the cryptography wheel from PyPI (50 or later)",
    ) from None
