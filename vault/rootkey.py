"""The root key, as far as anything may touch it, and the text it is stored as.

Trusted to keep the 32 root bytes from being used directly: independent values are derived from them
(HKDF-SHA256, RFC 5869) and the bytes themselves are dropped. One derived value wraps data keys, one
opens submissions, both in memory of their own (`vault.pages`); one is the public id that tells one
root from another. What is read, derived and parsed on the way is overwritten.

Stored form, version 1, frozen: `stockade-root-v1:<64 hex digits>:<16 hex digits of the id>`. The
id is a checksum: a root damaged in storage is ROOT_MALFORMED, not a silent ROOT_MISMATCH later.
"""

import binascii
import re
from collections.abc import Callable
from typing import Final, NewType, final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from vault.burn import burn
from vault.errors import Code, RootError
from vault.pages import Page
from vault.submission import SubmissionKey

ROOT_BYTES: Final = 32
RootKeyId = NewType("RootKeyId", str)
"""Sixteen hexadecimal digits that name a root key; may be shown and stored."""

_STORED: Final = re.compile(rb"stockade-root-v1:([0-9a-f]{64}):([0-9a-f]{16})\n?")


@final
class RootKey:
    """A root key ready to wrap and unwrap data keys."""

    __slots__ = ("_submission", "_wrapping", "key_id")

    def __init__(self, root: bytes) -> None:
        if len(root) != ROOT_BYTES:
            raise malformed("has the wrong length")
        self.key_id: Final = RootKeyId(_derive(root, b"stockade vault root id v1", 8).hex())
        self._wrapping: Final = _kept(_derive(root, b"stockade vault root wrap v1", 32))
        self._submission: Final = _kept(_derive(root, b"stockade vault submission v1", 32))

    def __repr__(self) -> str:
        return f"RootKey({self.key_id})"

    def require(self, key_id: RootKeyId) -> None:
        """Refuse to go on if this is not the root that is expected."""
        if self.key_id != key_id:
            raise RootError(
                Code.ROOT_MISMATCH,
                f"the root key is {self.key_id}, but {key_id} is needed",
                f"restore root key {key_id}; nothing was changed",
            )

    def wrap(self, nonce: bytes, data_key: bytes, bound_to: bytes) -> bytes:
        """Encrypt a data key.

        Nonces are random: 2^32 wraps under one root before a repeat is even one in 2^32 likely
        (NIST SP 800-38D, 8.3), and a root is rotated long before.
        """
        return self._cipher().encrypt(nonce, data_key, bound_to)

    def unwrap(self, nonce: bytes, wrapped: bytes, bound_to: bytes) -> bytes | None:
        """Decrypt a data key; None if it is not authentic."""
        try:
            return self._cipher().decrypt(nonce, wrapped, bound_to)
        except InvalidTag:
            return None

    def submissions(self) -> SubmissionKey:
        """What opens values that were sealed to this vault."""
        return SubmissionKey(self._submission)

    def _cipher(self) -> AESGCM:
        # Made anew each time, in 2 us: between two uses the key is in its page and nowhere else.
        with self._wrapping.view() as key:
            return AESGCM(key)


def generate_root(random: Callable[[int], bytes]) -> str:
    """Make a new root key in its stored form."""
    root = random(ROOT_BYTES)
    return f"stockade-root-v1:{root.hex()}:{RootKey(root).key_id}"


def parse_root(stored: bytes) -> RootKey:
    """Read a root key from its stored form."""
    found = _STORED.fullmatch(stored)
    if found is None:
        raise malformed("is not in the stored form")
    digits = found[1]
    raw = binascii.unhexlify(digits)
    root = RootKey(raw)
    burn(digits, raw)
    if root.key_id != found[2].decode("ascii"):
        raise malformed("does not match its checksum")
    return root


def malformed(what: str) -> RootError:
    """Build the refusal of a damaged root key."""
    return RootError(
        Code.ROOT_MALFORMED,
        f"the stored root key {what}",
        "restore the root key from a backup; without it the secrets cannot be opened",
    )


def _kept(key: bytes) -> Page:
    page = Page.holding(key)
    burn(key)
    return page


def _derive(root: bytes, purpose: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, salt=None, info=purpose).derive(root)
