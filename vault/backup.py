"""A backup of secrets: sealed under a passphrase, for this machine or another.

Trusted to give back each secret only as what was backed up, and to let no record be moved, dropped
from the middle, or taken from another backup without notice; a backup that was cut off lacks its
last record. Nothing of it needs the root key. Raises `BackupError` (and `RootError` for the
passphrase).

The form, version 1, frozen:

    93 bytes    header: 32 random bytes, the backup's key, sealed under the passphrase
                (`vault.passphrase`, magic "SKDB")
    records     from number 0 on:
      4 bytes   length of what follows in this record, big-endian
      1 byte    1: a secret; 0: the end
      8 bytes   number of the record
      12 bytes  nonce
      n + 16    content, AES-256-GCM under the backup's key; additional data: "stockade-backup-v1",
                and the 9 bytes before the nonce

    content of a secret: 2 bytes length of the reference, the reference, 8 bytes each of version,
    time of creation and of expiry in milliseconds (0: none), the value; of the end: nothing
"""

import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from vault.burn import burn
from vault.errors import BackupError, Code
from vault.passphrase import Cost, check_passphrase, open_under, seal_under
from vault.reference import SecretReference, parse_reference
from vault.secret import Secret

HEADER: Final = 93
_MAGIC: Final = b"SKDB"
_BOUND_TO: Final = b"stockade-backup-v1"
_LENGTH: Final = struct.Struct(">I")
_FRAME: Final = struct.Struct(">BQ")
_FACTS: Final = struct.Struct(">QQQ")
_NONCE, _KEY, _TAG = 12, 32, 16
_MAX_RECORD: Final = 1 << 17
_END, _SECRET = 0, 1
Random = Callable[[int], bytes]


@final
@dataclass(frozen=True, slots=True)
class BackedUp:
    """One secret of a backup."""

    reference: SecretReference
    version: int
    created_ms: int
    expires_ms: int | None
    value: Secret = field(repr=False)


@final
class BackupWriter:
    """Makes one backup, record after record."""

    def __init__(
        self, passphrase: Secret, cost: Cost | None = None, random: Random = os.urandom
    ) -> None:
        check_passphrase(passphrase)
        key = random(_KEY)
        self.header: Final = seal_under(passphrase, _MAGIC, key, cost, random)
        self._cipher = AESGCM(key)
        self._random = random
        self._number = 0
        burn(key)

    def secret(self, one: BackedUp) -> bytes:
        """The record of a secret."""
        name = str(one.reference).encode("ascii")
        facts = _FACTS.pack(one.version, one.created_ms, one.expires_ms or 0)
        with one.value.view() as value:
            head = len(name).to_bytes(2, "big") + name + facts
            content = bytearray().join((head, value))
        try:
            return self._record(_SECRET, content)
        finally:
            burn(content)

    def end(self) -> bytes:
        """The last record."""
        return self._record(_END, bytearray())

    def _record(self, kind: int, content: bytearray) -> bytes:
        frame, nonce = _FRAME.pack(kind, self._number), self._random(_NONCE)
        self._number += 1
        sealed = self._cipher.encrypt(nonce, content, _BOUND_TO + frame)
        return _LENGTH.pack(len(frame) + len(nonce) + len(sealed)) + frame + nonce + sealed


def read_backup(passphrase: Secret, data: bytes) -> Iterator[BackedUp | None]:
    """The secrets of a header and records that follow each other; None for the end."""
    if len(data) < HEADER:
        raise _refused("it is no backup of a vault")
    with open_under(passphrase, _MAGIC, data[:HEADER]) as key, key.view() as raw:
        cipher = AESGCM(raw)
    at, expected, ended = HEADER, None, False
    while at < len(data):
        record = _framed(data, at)
        at += _LENGTH.size + len(record)
        kind, number = _FRAME.unpack_from(record)
        if ended or expected not in (None, number):
            raise _refused("a record is missing, or stands in another place")
        expected = number + 1
        opened = _opened(cipher, record)
        ended = kind == _END
        yield None if ended else _secret(opened)


def _framed(data: bytes, at: int) -> memoryview:
    length = _LENGTH.unpack_from(data, at)[0] if at + _LENGTH.size <= len(data) else 0
    record = memoryview(data)[at + _LENGTH.size :][:length]
    least = _FRAME.size + _NONCE + _TAG
    if not least <= length <= _MAX_RECORD or len(record) < length:
        raise _refused("it is cut off, or damaged")
    return record


def _opened(cipher: AESGCM, record: memoryview) -> Secret:
    frame, rest = bytes(record[: _FRAME.size]), record[_FRAME.size :]
    try:
        return Secret.written(
            len(rest) - _NONCE - _TAG,
            lambda place: cipher.decrypt_into(
                bytes(rest[:_NONCE]), bytes(rest[_NONCE:]), _BOUND_TO + frame, place
            ),
        )
    except InvalidTag:
        raise _refused("a record was changed, or is of another backup") from None


def _secret(opened: Secret) -> BackedUp:
    with opened, opened.view() as content:
        length = int.from_bytes(content[:2], "big")
        reference = parse_reference(bytes(content[2 : 2 + length]).decode("ascii"))
        version, created, expires = _FACTS.unpack_from(content, 2 + length)
        value = Secret(content[2 + length + _FACTS.size :])
    return BackedUp(reference, version, created, expires or None, value)


def _refused(why: str) -> BackupError:
    return BackupError(
        Code.BACKUP_DAMAGED, f"the backup cannot be read: {why}", "use another copy of it"
    )
