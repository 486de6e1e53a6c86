"""The ledger's keys and their files."""

import base64
import hashlib

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import mldsa
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import KeyFileError
from ledger.keys import (
    PublicKeys,
    SigningKeys,
    encode_public,
    encode_signing,
    generate,
    parse_public,
    parse_signing,
)

from .specimen import KEYS, OTHER_KEYS, PUBLIC

PUBLIC_FILE = encode_public(PUBLIC)
PRIVATE_FILE = encode_signing(KEYS)


def test_generated_keys_survive_their_files() -> None:
    """What is generated is what is read back, and no two are alike."""
    keys = generate("alpha")
    assert parse_signing(encode_signing(keys)) == keys
    assert parse_public(encode_public(keys.public())) == keys.public()
    assert generate("alpha") != keys
    assert keys.ed25519_seed != keys.mldsa65_seed


def test_the_public_file_is_two_verifier_keys() -> None:
    """Each line is name, key id and base64 of type and key, as C2SP signed-note has them."""
    name = "stockade/alpha"
    kinds = (b"\x01" + PUBLIC.ed25519, b"\xffstockade.ledger/ml-dsa-65/v1" + PUBLIC.mldsa65)
    for line, key in zip(PUBLIC_FILE.decode().splitlines(), kinds, strict=True):
        key_id = hashlib.sha256(name.encode() + b"\n" + key).hexdigest()[:8]
        assert line == f"{name}+{key_id}+{base64.b64encode(key).decode()}"


def test_secrets_are_in_no_repr_and_no_public_file() -> None:
    """Neither a log line nor the public half shows a seed."""
    for seed in (KEYS.ed25519_seed, KEYS.mldsa65_seed):
        for form in (repr(seed)[2:-1], seed.hex(), base64.b64encode(seed).decode()[:40]):
            assert form not in repr(KEYS)
            assert form.encode() not in PUBLIC_FILE


def altered(data: bytes) -> list[bytes]:
    first, second = data.splitlines(keepends=True)
    other = (encode_public if data == PUBLIC_FILE else encode_signing)(
        OTHER_KEYS.public() if data == PUBLIC_FILE else OTHER_KEYS  # type: ignore[arg-type]
    ).splitlines(keepends=True)
    return [
        b"",
        first,
        second,
        second + first,
        first + first,
        data + b"\n",
        data + first,
        data[:-1],
        b"\n" + data,
        b" " + data,
        b"\xef\xbb\xbf" + data,
        data.replace(b"\n", b"\r\n"),
        data.replace(b"alpha", b"Alpha"),
        data.replace(b"alpha", b"gamma"),
        data.replace(b"stockade/", b"stockade//"),
        first + other[1],
        other[0] + second,
        first.replace(b"+", b"++", 1) + second,
        first[:-2] + b"\n" + second,
        first.upper() + second,
        data + b"#" * 20_000,
    ]


@pytest.mark.parametrize("data", altered(PUBLIC_FILE))
def test_an_altered_public_file_is_refused(data: bytes) -> None:
    """A public key file is read in exactly the form it is written: nothing more, less or moved."""
    with pytest.raises(KeyFileError):
        parse_public(data)


@pytest.mark.parametrize("data", [*altered(PRIVATE_FILE), PUBLIC_FILE])
def test_an_altered_private_file_is_refused(data: bytes) -> None:
    """A private key file likewise; and a public one is not taken for it."""
    with pytest.raises(KeyFileError):
        parse_signing(data)


def test_a_private_file_is_no_public_file() -> None:
    """A verifier that is handed the private file by mistake refuses it."""
    with pytest.raises(KeyFileError):
        parse_public(PRIVATE_FILE)


@given(st.integers(0, len(PUBLIC_FILE) - 1), st.integers(1, 255))
def test_every_byte_of_a_public_file_counts(at: int, flip: int) -> None:
    """No byte can be changed unnoticed: the key id is over name, type and key."""
    data = bytearray(PUBLIC_FILE)
    data[at] ^= flip
    with pytest.raises(KeyFileError):
        parse_public(bytes(data))


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    """Whatever the bytes, the error is of this package."""
    for parse in (parse_public, parse_signing):
        with pytest.raises(KeyFileError):
            parse(data)


@pytest.mark.parametrize(("one", "two"), [(31, 32), (32, 33), (0, 0), (64, 32)])
def test_seeds_have_their_size(one: int, two: int) -> None:
    """A seed of another size is refused before it signs anything."""
    with pytest.raises(KeyFileError, match="SIZE"):
        SigningKeys("alpha", bytes(one), bytes(two))


def test_a_key_of_small_order_verifies_nothing() -> None:
    """The identity as a public key, for which one signature would fit many messages, is useless."""
    identity = b"\x01" + bytes(31)
    keys = PublicKeys("alpha", identity, PUBLIC.mldsa65)
    assert not keys.verifies_ed25519(b"any", identity + bytes(32))


def test_signatures_of_any_length_are_answered() -> None:
    """A signature that cannot be one is a plain no, not an exception."""
    for size in (0, 1, 63, 64, 65, 3308, 3309, 3310):
        assert not PUBLIC.verifies_ed25519(b"m", bytes(size))
        assert not PUBLIC.verifies_mldsa65(b"m", bytes(size), b"c")


def test_mldsa_is_bound_to_its_context() -> None:
    """A signature made in one context is none in another."""
    signature = KEYS.sign_mldsa65(b"m", b"one")
    assert PUBLIC.verifies_mldsa65(b"m", signature, b"one")
    assert not PUBLIC.verifies_mldsa65(b"m", signature, b"two")
    assert not PUBLIC.verifies_mldsa65(b"n", signature, b"one")


def test_without_mldsa_nothing_is_signed_or_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A library without ML-DSA-65 is an error that says so, never a missing second signature."""

    class Absent:
        @staticmethod
        def refuse(_: bytes) -> None:
            raise UnsupportedAlgorithm("no ML-DSA")

        from_seed_bytes = from_public_bytes = refuse

    monkeypatch.setattr(mldsa, "MLDSA65PrivateKey", Absent)
    monkeypatch.setattr(mldsa, "MLDSA65PublicKey", Absent)
    with pytest.raises(KeyFileError, match="NO_ML_DSA"):
        KEYS.public()
    with pytest.raises(KeyFileError, match="NO_ML_DSA"):
        PUBLIC.verifies_mldsa65(b"m", bytes(3309), b"c")
