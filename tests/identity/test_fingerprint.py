"""Fingerprints and the words they are compared by."""

import hashlib

import pytest

from identity.errors import Code, NamingError
from identity.fingerprint import Fingerprint, spki_fingerprint


def test_a_fingerprint_is_sha256_of_the_key() -> None:
    """The fingerprint is plain SHA-256, so that any tool can check it."""
    assert spki_fingerprint(b"key") == hashlib.sha256(b"key").hexdigest()


@pytest.mark.parametrize("text", ["", "a" * 63, "a" * 65, "A" * 64, "g" * 64, "a" * 64 + "\n"])
def test_a_fingerprint_has_one_form(text: str) -> None:
    """Anything but 64 lower-case hexadecimal digits is no fingerprint."""
    with pytest.raises(NamingError) as refusal:
        Fingerprint(text)
    assert refusal.value.code is Code.FINGERPRINT_MALFORMED
