"""A backup of secrets: sealed under a passphrase, for this machine or another.

Trusted to give back each secret only as what was backed up, and to let no record be moved, dropped
from the middle, or taken from another backup without notice; a backup that was cut off lacks its
last record. Nothing of it needs the root key. Raises `BackupError` (and `RootError` for the
passphrase).

The form, version 1, frozen: records (`vault.records`) of the magic "SKDB", bound to
"stockade-backup-v1", of 131,072 bytes at most. Kind 1 is a secret: 2 bytes length of the reference,
the reference, 8 bytes each of version, time of creation and of expiry in milliseconds (0: none),
the value; the end is empty.
"""

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, final

from vault.burn import burn
from vault.passphrase import Cost
from vault.records import END, HEADER, LENGTH, Form, Opener, Random, Sealer, refused
from vault.reference import SecretReference, parse_reference
from vault.secret import Secret

_FORM: Final = Form(magic=b"SKDB", bound_to=b"stockade-backup-v1", largest=1 << 17)
_FACTS: Final = struct.Struct(">QQQ")
_SECRET: Final = 1


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
        self._sealer = Sealer(_FORM, passphrase, cost, random)
        self.header: Final = self._sealer.header

    def secret(self, one: BackedUp) -> bytes:
        """The record of a secret."""
        name = str(one.reference).encode("ascii")
        facts = _FACTS.pack(one.version, one.created_ms, one.expires_ms or 0)
        with one.value.view() as value:
            head = len(name).to_bytes(2, "big") + name + facts
            content = bytearray().join((head, value))
        try:
            return self._sealer.record(_SECRET, content)
        finally:
            burn(content)

    def end(self) -> bytes:
        """The last record."""
        return self._sealer.record(END, b"")


def read_backup(passphrase: Secret, data: bytes) -> Iterator[BackedUp | None]:
    """The secrets of a header and records that follow each other; None for the end."""
    opener = Opener(_FORM, passphrase, data[:HEADER])
    rest = memoryview(data)[HEADER:]
    while rest:
        length = opener.length(rest[: LENGTH.size])
        record, rest = rest[LENGTH.size :][:length], rest[LENGTH.size + length :]
        if len(record) < length:
            raise refused("it is cut off, or damaged")
        kind, opened = opener.secret(record)
        yield None if kind == END else _secret(opened)


def _secret(opened: Secret) -> BackedUp:
    with opened, opened.view() as content:
        length = int.from_bytes(content[:2], "big")
        reference = parse_reference(bytes(content[2 : 2 + length]).decode("ascii"))
        version, created, expires = _FACTS.unpack_from(content, 2 + length)
        value = Secret(content[2 + length + _FACTS.size :])
    return BackedUp(reference, version, created, expires or None, value)
