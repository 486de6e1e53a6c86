"""From a passphrase to a key: Argon2id (RFC 9106), with the parameters beside what it protects.

Trusted to spend real memory and time on every guess, and to refuse parameters that would make a
guess cheap, or that a forged file could use to exhaust the machine. A wrong passphrase is found out
by the authentication of what is sealed under the key, not by a stored check. Raises `RootError`.

The sealed form, version 1, frozen:

    4 bytes   magic, the caller's
    1 byte    1
    16 bytes  salt
    4 bytes   memory in KiB, big-endian
    4 bytes   passes
    4 bytes   lanes
    12 bytes  nonce
    n + 16    content, AES-256-GCM under the derived key; additional data: all before the nonce
"""

import os
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from vault.burn import burn
from vault.errors import Code, RootError
from vault.secret import Secret

MIN_PASSPHRASE: Final = 12
MAX_PASSPHRASE: Final = 1024
_FORMAT: Final = 1
_HEAD: Final = struct.Struct(">4sB16sIII")
_NONCE, _TAG, _KEY = 12, 16, 32
# The lanes of a derivation share OpenSSL's threads with those of all others: two at once wait for
# each other for ever, or fail for want of memory. Nor has a machine memory for many.
_ONE_AT_A_TIME: Final = threading.Lock()


@final
@dataclass(frozen=True, slots=True)
class Cost:
    """What one guess costs: RFC 9106, section 4, the second recommended choice, by default."""

    memory_kib: int = 64 * 1024
    passes: int = 3
    lanes: int = 4

    def __post_init__(self) -> None:
        # From what OWASP calls the least, to what a small machine can still do in seconds.
        fair = (
            19 * 1024 <= self.memory_kib <= 1024 * 1024
            and 2 <= self.passes <= 32
            and 1 <= self.lanes <= 16
        )
        if not fair:
            raise RootError(
                Code.PASSPHRASE_COST,
                "what is sealed under the passphrase names a cost that is out of bounds",
                "restore it from a backup: it was changed",
            )


def check_passphrase(passphrase: Secret) -> None:
    """Refuse one that could be guessed by trying, however slow a try is."""
    with passphrase.view() as words:
        if not MIN_PASSPHRASE <= len(words) <= MAX_PASSPHRASE:
            raise RootError(
                Code.PASSPHRASE_LENGTH,
                f"a passphrase has {MIN_PASSPHRASE} to {MAX_PASSPHRASE} bytes",
                "take six random words or more",
            )


def seal_under(
    passphrase: Secret,
    magic: bytes,
    content: bytes | memoryview,
    cost: Cost | None = None,
    random: Callable[[int], bytes] = os.urandom,
) -> bytes:
    """Seal the content under a passphrase, in the frozen form."""
    spent = cost or Cost()
    salt, nonce = random(16), random(_NONCE)
    head = _HEAD.pack(magic, _FORMAT, salt, spent.memory_kib, spent.passes, spent.lanes)
    return head + nonce + _cipher(passphrase, salt, spent).encrypt(nonce, content, head)


def open_under(passphrase: Secret, magic: bytes, sealed: bytes) -> Secret:
    """Open what was sealed; refuses a wrong passphrase as PASSPHRASE_WRONG."""
    if len(sealed) < _HEAD.size + _NONCE + _TAG:
        raise _malformed()
    found, version, salt, *numbers = _HEAD.unpack_from(sealed)
    if found != magic or version != _FORMAT:
        raise _malformed()
    cipher = _cipher(passphrase, salt, Cost(*numbers))
    head, rest = sealed[: _HEAD.size], sealed[_HEAD.size :]
    try:
        return Secret.written(
            len(rest) - _NONCE - _TAG,
            lambda place: cipher.decrypt_into(rest[:_NONCE], rest[_NONCE:], head, place),
        )
    except InvalidTag:
        raise RootError(
            Code.PASSPHRASE_WRONG,
            "the passphrase is not the one it was sealed with, or what was sealed was changed",
            "try again; nothing was changed",
        ) from None


def _cipher(passphrase: Secret, salt: bytes, cost: Cost) -> AESGCM:
    kdf = Argon2id(
        salt=salt,
        length=_KEY,
        iterations=cost.passes,
        lanes=cost.lanes,
        memory_cost=cost.memory_kib,
    )
    words = passphrase.reveal()
    with _ONE_AT_A_TIME:
        key = kdf.derive(words)
    cipher = AESGCM(key)
    burn(words, key)
    return cipher


def _malformed() -> RootError:
    return RootError(
        Code.ROOT_MALFORMED,
        "what should be sealed under a passphrase is not in that form",
        "restore it from a backup",
    )
