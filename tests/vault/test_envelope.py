"""Sealing."""

from itertools import count

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from hypothesis import given
from hypothesis import strategies as st

from vault.envelope import (
    MAX_VALUE,
    Random,
    Sealed,
    SecretVersion,
    open_sealed,
    parse_sealed,
    rewrap,
    seal,
)
from vault.errors import Code, RootError, SealedError, VaultError
from vault.reference import GLOBAL, Scope, SecretName
from vault.rootkey import RootKey
from vault.secret import Secret

ROOT = RootKey(bytes(range(32)))
OTHER_ROOT = RootKey(bytes(range(1, 33)))
NAME = SecretName("db-password")
ONE = SecretVersion(1)


def counting() -> Random:
    """Stand in for randomness: 00 00 .., 01 01 .., 02 02 .."""
    numbers = count()
    return lambda size: bytes([next(numbers)] * size)


SEALED = seal(ROOT, GLOBAL, NAME, ONE, Secret(b"hunter2"), counting())

# Sealed bytes of format 1 as first released. They must open for ever; never regenerate them.
FROZEN = bytes.fromhex(
    "534b44560119a65144177c9ad4010101010101010101010101866caaee71061b3f292c541bbccfad"
    "61de79afedf37b732bcae2562f4cedeb839d3892e69b7e7171082ba71b35fbd4b302020202020202"
    "02020202022c8d62995d01f0be7f1c9f498cd44de9bd06b781a6f658"
)


def test_the_format_is_frozen() -> None:
    """With known randomness the sealed bytes are these, and they open."""
    assert SEALED.to_bytes() == FROZEN
    assert parse_sealed(FROZEN) == SEALED
    assert open_sealed(ROOT, GLOBAL, NAME, ONE, parse_sealed(FROZEN)).reveal() == b"hunter2"


def test_the_format_is_what_its_description_says() -> None:
    """The bytes can be computed from the description alone, without this package."""

    def derive(purpose: bytes, length: int) -> bytes:
        return HKDF(SHA256(), length, salt=None, info=purpose).derive(bytes(range(32)))

    def bound(tag: bytes) -> bytes:
        parts = (b"stockade vault sealed v1 " + tag, b"global", b"db-password", bytes(7) + b"\x01")
        return b"".join(len(part).to_bytes(4, "big") + part for part in parts)

    wrapping = AESGCM(derive(b"stockade vault root wrap v1", 32))
    data_key = bytes(32)
    assert (
        b"".join(
            (
                b"SKDV\x01",
                derive(b"stockade vault root id v1", 8),
                b"\x01" * 12,
                wrapping.encrypt(b"\x01" * 12, data_key, bound(b"key")),
                b"\x02" * 12,
                AESGCM(data_key).encrypt(b"\x02" * 12, b"hunter2", bound(b"value")),
            )
        )
        == FROZEN
    )


@given(st.binary(min_size=1, max_size=200), st.integers(1, 2**63 - 1))
def test_what_is_sealed_opens(value: bytes, version: int) -> None:
    """Any value and version comes back through the stored bytes."""
    sealed = seal(ROOT, GLOBAL, NAME, SecretVersion(version), Secret(value))
    stored = parse_sealed(sealed.to_bytes())
    assert open_sealed(ROOT, GLOBAL, NAME, SecretVersion(version), stored).reveal() == value


def test_nothing_repeats() -> None:
    """Sealing the same value twice gives nothing in common but the root's id."""
    first, second = (seal(ROOT, GLOBAL, NAME, ONE, Secret(b"x" * 40)) for _ in range(2))
    assert first.wrap_nonce != second.wrap_nonce
    assert first.wrapped_key[:32] != second.wrapped_key[:32]
    assert first.value_nonce != second.value_nonce
    assert first.ciphertext[:40] != second.ciphertext[:40]


@pytest.mark.parametrize(
    ("scope", "name", "version"),
    [
        (GLOBAL, SecretName("db-passwor"), 1),
        (GLOBAL, SecretName("api-key"), 1),
        (Scope("tool/git"), NAME, 1),
        (Scope("agent/git"), NAME, 1),
        (GLOBAL, NAME, 2),
        (GLOBAL, NAME, 256),
    ],
)
def test_a_moved_blob_does_not_open(scope: Scope, name: SecretName, version: int) -> None:
    """A blob copied to another name, scope or version in the database is refused."""
    with pytest.raises(SealedError) as refusal:
        open_sealed(ROOT, scope, name, SecretVersion(version), SEALED)
    assert refusal.value.code is Code.SEALED_TAMPERED


def test_halves_of_two_blobs_do_not_open() -> None:
    """The wrapped key of one sealing with the value of another, same secret, is refused."""
    other = seal(ROOT, GLOBAL, NAME, ONE, Secret(b"old value"))
    mixed = Sealed(
        SEALED.root_key_id,
        SEALED.wrap_nonce,
        SEALED.wrapped_key,
        other.value_nonce,
        other.ciphertext,
    )
    with pytest.raises(SealedError) as refusal:
        open_sealed(ROOT, GLOBAL, NAME, ONE, mixed)
    assert refusal.value.code is Code.SEALED_TAMPERED


@given(st.integers(0, len(SEALED.to_bytes()) * 8 - 1))
def test_every_bit_is_protected(bit: int) -> None:
    """Flipping any bit of the stored bytes is refused."""
    damaged = bytearray(SEALED.to_bytes())
    damaged[bit // 8] ^= 1 << (bit % 8)
    with pytest.raises(VaultError):
        open_sealed(ROOT, GLOBAL, NAME, ONE, parse_sealed(bytes(damaged)))


@pytest.mark.parametrize("size", range(0, len(SEALED.to_bytes()), 7))
def test_a_truncated_blob_is_refused(size: int) -> None:
    """Bytes cut off at any place are refused."""
    with pytest.raises(SealedError):
        open_sealed(ROOT, GLOBAL, NAME, ONE, parse_sealed(SEALED.to_bytes()[:size]))


def test_a_wrong_root_is_named() -> None:
    """Another root gives ROOT_MISMATCH and both ids, not garbage or a tampering alarm."""
    with pytest.raises(RootError) as refusal:
        open_sealed(OTHER_ROOT, GLOBAL, NAME, ONE, SEALED)
    assert refusal.value.code is Code.ROOT_MISMATCH
    assert ROOT.key_id in refusal.value.message
    assert OTHER_ROOT.key_id in refusal.value.message


def test_a_root_that_claims_anothers_id_opens_nothing() -> None:
    """The id is a hint: a blob relabelled for another root is refused by the cipher."""
    relabelled = Sealed(
        OTHER_ROOT.key_id,
        SEALED.wrap_nonce,
        SEALED.wrapped_key,
        SEALED.value_nonce,
        SEALED.ciphertext,
    )
    with pytest.raises(SealedError) as refusal:
        open_sealed(OTHER_ROOT, GLOBAL, NAME, ONE, relabelled)
    assert refusal.value.code is Code.SEALED_TAMPERED


def test_the_largest_value_fits_and_one_more_does_not() -> None:
    """65,536 bytes are sealed, 65,537 and none are refused."""
    largest = seal(ROOT, GLOBAL, NAME, ONE, Secret(b"x" * MAX_VALUE))
    stored = parse_sealed(largest.to_bytes())
    assert open_sealed(ROOT, GLOBAL, NAME, ONE, stored).reveal() == b"x" * 65_536
    with pytest.raises(SealedError) as refusal:
        seal(ROOT, GLOBAL, NAME, ONE, Secret(b"x" * 65_537))
    assert refusal.value.code is Code.VALUE_TOO_LARGE
    with pytest.raises(SealedError) as refusal:
        seal(ROOT, GLOBAL, NAME, ONE, Secret(b""))
    assert refusal.value.code is Code.VALUE_EMPTY
    with pytest.raises(SealedError) as refusal:
        parse_sealed(largest.to_bytes() + b"x")
    assert refusal.value.code is Code.SEALED_MALFORMED


@pytest.mark.parametrize("version", [0, -1, 2**63])
def test_a_version_that_cannot_be_is_refused(version: int) -> None:
    """Versions are positive and fit the database."""
    with pytest.raises(SealedError) as refusal:
        seal(ROOT, GLOBAL, NAME, SecretVersion(version), Secret(b"x"))
    assert refusal.value.code is Code.VERSION_OUT_OF_RANGE


def test_rotation_moves_the_key_and_not_the_value() -> None:
    """After re-wrapping only the new root opens the value, whose own bytes are as they were."""
    moved = rewrap(ROOT, OTHER_ROOT, GLOBAL, NAME, ONE, SEALED)
    assert open_sealed(OTHER_ROOT, GLOBAL, NAME, ONE, moved).reveal() == b"hunter2"
    assert (moved.value_nonce, moved.ciphertext) == (SEALED.value_nonce, SEALED.ciphertext)
    assert moved.wrap_nonce != SEALED.wrap_nonce
    with pytest.raises(RootError):
        open_sealed(ROOT, GLOBAL, NAME, ONE, moved)


def test_rotation_does_not_launder_a_moved_blob() -> None:
    """Re-wrapping under another name, or from another root, is refused."""
    with pytest.raises(SealedError):
        rewrap(ROOT, OTHER_ROOT, GLOBAL, SecretName("other"), ONE, SEALED)
    with pytest.raises(RootError):
        rewrap(OTHER_ROOT, ROOT, GLOBAL, NAME, ONE, SEALED)


def test_a_later_format_is_not_guessed_at() -> None:
    """An unknown format version is its own refusal."""
    later = bytearray(FROZEN)
    later[4] = 2
    with pytest.raises(SealedError) as refusal:
        parse_sealed(bytes(later))
    assert refusal.value.code is Code.SEALED_FORMAT_UNKNOWN


@given(st.binary(max_size=200))
def test_no_bytes_break_the_parser(garbage: bytes) -> None:
    """Garbage, bare or behind a valid beginning, raises the package's error only."""
    for data in (garbage, b"SKDV\x01" + garbage):
        with pytest.raises(VaultError):
            open_sealed(ROOT, GLOBAL, NAME, ONE, parse_sealed(data))


def test_a_sealed_value_is_shown_by_its_root_only() -> None:
    """The representation of a sealed value is short."""
    assert repr(SEALED) == f"Sealed(root_key_id='{ROOT.key_id}')"
