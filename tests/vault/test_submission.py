"""Values that are sealed to the vault's key by whoever submits them."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nacl.public import PrivateKey

from stockade.sealing import seal_to
from vault.errors import Code, SealedError
from vault.reference import parse_reference
from vault.rootkey import RootKey

ROOT = RootKey(bytes(range(32)))
TOKEN = "secret://global/token"
FIXTURE = Path(__file__).with_name("fixtures") / "submission-v1.bin"


def refused(submission: bytes, reference: str = TOKEN) -> SealedError:
    with pytest.raises(SealedError) as refusal:
        ROOT.submissions().open(submission, parse_reference(reference))
    assert refusal.value.code is Code.SUBMISSION_UNOPENED
    assert refusal.value.fix
    return refusal.value


@given(st.binary(min_size=1, max_size=300))
def test_what_a_client_seals_the_vault_opens(value: bytes) -> None:
    """The client's form and the vault's are one."""
    keys = ROOT.submissions()
    sealed = seal_to(keys.public, TOKEN, value)
    assert value not in sealed or len(value) < 3
    with keys.open(sealed, parse_reference(TOKEN)) as opened:
        assert opened.reveal() == value


def test_the_form_is_frozen() -> None:
    """These bytes, sealed once to the key of this root, are opened for ever."""
    assert ROOT.submissions().public.hex() == (
        "0693af726bc903fdc5a46f938d3a62c87459403c5bcec24387b958631721a97c"
    )
    opened = ROOT.submissions().open(FIXTURE.read_bytes(), parse_reference(TOKEN))
    assert opened.reveal() == b"frozen value"


def test_a_submission_is_for_one_name() -> None:
    """Whoever passes it on cannot put it under another name, nor under a longer or shorter one."""
    sealed = seal_to(ROOT.submissions().public, TOKEN, b"value")
    for other in ("secret://global/toke", "secret://global/tokenv", "secret://tool/x/token"):
        assert "another secret" in refused(sealed, other).message


@given(st.integers(0, 10_000))
def test_a_flipped_bit_is_refused(number: int) -> None:
    """Every bit of a submission is authenticated."""
    good = FIXTURE.read_bytes()
    bad = bytearray(good)
    bad[number % (len(good) * 8) // 8] ^= 1 << number % 8
    refused(bytes(bad))


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader(garbage: bytes) -> None:
    """What is no submission is refused by the package's error only."""
    refused(garbage)


def test_what_another_vault_could_open_this_one_cannot() -> None:
    """A submission to another key, and one that holds something else, are refused."""
    refused(seal_to(bytes(PrivateKey.generate().public_key), TOKEN, b"value"))
    from nacl.public import PublicKey, SealedBox

    refused(SealedBox(PublicKey(ROOT.submissions().public)).encrypt(b"hello"))


def test_a_key_that_is_none_is_refused_by_the_client() -> None:
    """Of another length."""
    with pytest.raises(ValueError, match="32"):
        seal_to(b"short", TOKEN, b"value")
