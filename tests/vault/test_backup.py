"""Backups: what was put in comes back, and nothing else is taken for it."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.backup import BackedUp, BackupWriter, read_backup
from vault.errors import Code, VaultError
from vault.passphrase import Cost
from vault.records import HEADER
from vault.reference import parse_reference
from vault.secret import Secret

WORDS = b"correct horse battery staple"
CHEAP = Cost(memory_kib=19 * 1024, passes=2, lanes=1)
FIXTURE = Path(__file__).with_name("fixtures") / "backup-v1.bin"
KEPT = {
    "secret://global/token": (3, 1_750_000_000_000, None, b"value"),
    "secret://tool/deploy/key": (1, 1_750_000_000_001, 1_800_000_000_000, bytes(range(256))),
}


def made(number: int = 2) -> tuple[bytes, list[bytes]]:
    """A backup's header, and its records."""
    counter = iter(range(250))
    writer = BackupWriter(Secret(WORDS), CHEAP, lambda n: bytes([next(counter)]) * n)
    records = [
        writer.secret(BackedUp(parse_reference(name), version, created, expires, Secret(value)))
        for name, (version, created, expires, value) in list(KEPT.items())[:number]
    ]
    return writer.header, [*records, writer.end()]


def read(data: bytes) -> dict[str, tuple[int, int, int | None, bytes]]:
    found = [one for one in read_backup(Secret(WORDS), data) if one is not None]
    return {
        str(one.reference): (one.version, one.created_ms, one.expires_ms, one.value.reveal())
        for one in found
    }


def refused(data: bytes, words: bytes = WORDS) -> Code:
    with pytest.raises(VaultError) as refusal:
        list(read_backup(Secret(words), data))
    assert refusal.value.fix
    return refusal.value.code


def test_the_form_is_frozen() -> None:
    """These bytes are what this backup is made of, and are read for ever."""
    header, records = made()
    assert len(header) == HEADER
    assert header + b"".join(records) == FIXTURE.read_bytes()
    assert read(FIXTURE.read_bytes()) == KEPT


def test_the_end_is_known() -> None:
    """The last record says that nothing was cut off."""
    header, records = made()
    assert list(read_backup(Secret(WORDS), header + b"".join(records)))[-1] is None
    assert None not in list(read_backup(Secret(WORDS), header + b"".join(records[:-1])))


def test_parts_are_read_by_themselves() -> None:
    """Some records with the header: a restore may go in steps."""
    header, records = made()
    assert list(read(header + records[1])) == ["secret://tool/deploy/key"]


def test_records_that_do_not_follow_each_other_are_refused() -> None:
    """Dropped from the middle, swapped, twice, after the end, of another backup."""
    header, (first, second, end) = made()
    other = BackupWriter(Secret(WORDS), CHEAP)
    theirs = other.secret(BackedUp(parse_reference("secret://global/x"), 1, 1, None, Secret(b"x")))
    for records in (first + end, second + first, first + first, end + first, theirs):
        assert refused(header + records) is Code.BACKUP_DAMAGED


def test_another_passphrase_opens_nothing() -> None:
    """Nor is a short one taken for a new backup."""
    header, records = made()
    assert refused(header + b"".join(records), b"not the passphrase") is Code.PASSPHRASE_WRONG
    with pytest.raises(VaultError) as refusal:
        BackupWriter(Secret(b"short"), CHEAP)
    assert refusal.value.code is Code.PASSPHRASE_LENGTH


@given(st.integers(0, 100_000))
def test_a_flipped_bit_is_refused(number: int) -> None:
    """Wherever it is: in the cost, the key, a length, a number, a value."""
    good = FIXTURE.read_bytes()
    bad = bytearray(good)
    bad[number % (len(good) * 8) // 8] ^= 1 << number % 8
    assert refused(bytes(bad))


@given(st.integers(0, 1000))
def test_cut_anywhere_it_is_refused_or_lacks_its_end(length: int) -> None:
    """What was cut off is never taken for the whole."""
    data = FIXTURE.read_bytes()
    cut = data[: length % len(data)]
    found: list[BackedUp | None] = []
    with contextlib.suppress(VaultError):
        found = list(read_backup(Secret(WORDS), cut))
    assert None not in found


def test_no_value_is_in_a_backup() -> None:
    """In the clear there are lengths and numbers."""
    data = FIXTURE.read_bytes()
    assert not [word for word in (b"value", b"token", b"global", bytes(range(64))) if word in data]
