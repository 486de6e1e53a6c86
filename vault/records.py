"""Records under a passphrase: each sealed, numbered, and bound to what it is a part of.

Trusted to let no record be moved, dropped from the middle, or taken from elsewhere without notice;
what was cut off lacks its last record, and it is for the reader to miss it. Raises `BackupError`
(and `RootError` for the passphrase).

The form, version 1, frozen:

    93 bytes    header: 32 random bytes, the key, sealed under the passphrase (`vault.passphrase`,
                with the magic of what it is)
    records     from number 0 on:
      4 bytes   length of what follows in this record, big-endian
      1 byte    kind; 0: the end
      8 bytes   number of the record
      12 bytes  nonce
      n + 16    content, AES-256-GCM under the key; additional data: what it is, and the 9 bytes
                before the nonce
"""

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vault.burn import burn
from vault.errors import BackupError, Code
from vault.passphrase import Cost, check_passphrase, open_under, seal_under
from vault.secret import Secret

HEADER: Final = 93
END: Final = 0
LENGTH: Final = struct.Struct(">I")
_FRAME: Final = struct.Struct(">BQ")
_NONCE, _KEY, _TAG = 12, 32, 16
LEAST: Final = _FRAME.size + _NONCE + _TAG
Random = Callable[[int], bytes]


@final
@dataclass(frozen=True, slots=True)
class Form:
    """What is made of such records."""

    magic: bytes
    bound_to: bytes
    largest: int
    """Bytes of a record at most, without its length."""


@final
class Sealer:
    """Makes the header, and record after record."""

    def __init__(
        self, form: Form, passphrase: Secret, cost: Cost | None = None, random: Random = os.urandom
    ) -> None:
        check_passphrase(passphrase)
        key = random(_KEY)
        self.header: Final = seal_under(passphrase, form.magic, key, cost, random)
        self._form = form
        self._cipher = AESGCM(key)
        self._random = random
        self._number = 0
        burn(key)

    def record(self, kind: int, content: bytes | bytearray) -> bytes:
        """The next record."""
        frame, nonce = _FRAME.pack(kind, self._number), self._random(_NONCE)
        self._number += 1
        sealed = self._cipher.encrypt(nonce, content, self._form.bound_to + frame)
        return LENGTH.pack(len(frame) + len(nonce) + len(sealed)) + frame + nonce + sealed


@final
class Opener:
    """Opens records that follow each other; the first may have any number."""

    def __init__(self, form: Form, passphrase: Secret, header: bytes) -> None:
        if len(header) < HEADER:
            raise refused("it is too short")
        if not header.startswith(form.magic):
            raise BackupError(
                Code.BACKUP_DAMAGED,
                "this is no such backup: it begins otherwise",
                "name the file that the backup was written to",
            )
        with open_under(passphrase, form.magic, header) as key, key.view() as raw:
            self._cipher = AESGCM(raw)
        self._form = form
        self._expected: int | None = None
        self.ended = False

    def length(self, head: bytes | memoryview) -> int:
        """The length of a record, from the 4 bytes before it."""
        length: int = LENGTH.unpack(head)[0] if len(head) == LENGTH.size else 0
        if not LEAST <= length <= self._form.largest:
            raise refused("it is cut off, or damaged")
        return length

    def secret(self, record: bytes | memoryview) -> tuple[int, Secret]:
        """The kind and the content of the next record, in memory of its own."""
        kind, nonce, sealed, data = self._next(record)

        def open_into(place: memoryview) -> object:
            return self._cipher.decrypt_into(nonce, sealed, data, place)

        try:
            return kind, Secret.written(len(sealed) - _TAG, open_into)
        except InvalidTag:
            raise _changed() from None

    def plain(self, record: bytes | memoryview) -> tuple[int, bytes]:
        """The kind and the content of the next record."""
        kind, nonce, sealed, data = self._next(record)
        try:
            return kind, self._cipher.decrypt(nonce, sealed, data)
        except InvalidTag:
            raise _changed() from None

    def _next(self, record: bytes | memoryview) -> tuple[int, bytes, bytes, bytes]:
        if len(record) < LEAST:
            raise refused("it is cut off, or damaged")
        kind, number = _FRAME.unpack_from(record)
        if self.ended or self._expected not in (None, number):
            raise refused("a record is missing, or stands in another place")
        self._expected, self.ended = number + 1, kind == END
        frame, rest = bytes(record[: _FRAME.size]), record[_FRAME.size :]
        return kind, bytes(rest[:_NONCE]), bytes(rest[_NONCE:]), self._form.bound_to + frame


def refused(why: str) -> BackupError:
    """What is wrong with a backup."""
    return BackupError(
        Code.BACKUP_DAMAGED, f"the backup cannot be read: {why}", "use another copy of it"
    )


def _changed() -> BackupError:
    return refused("a record was changed, or is of another backup")
