"""Values that reach the vault sealed to its public key (libsodium's sealed box).

Trusted to open a submission only for the reference it was made for: the name is inside of the box,
so a value cannot be put under another name by whoever passes it on. The key pair is derived from
the root key, and changes with it. Raises `SealedError`.

What is in the box, version 1, frozen:

    22 bytes     "stockade-submission-v1"
    2 bytes      length of the reference, big-endian
    the reference, in ASCII
    the value

What is opened passes through memory of the library; it is overwritten as far as it can be reached.
"""

from typing import Final, NewType

from vault.burn import burn
from vault.errors import Code, SealedError
from vault.pages import Page
from vault.reference import SecretReference
from vault.secret import Secret

PublicKey = NewType("PublicKey", bytes)
_MAGIC: Final = b"stockade-submission-v1"
_LENGTH: Final = 2


class SubmissionKey:
    """The private half, which opens submissions."""

    __slots__ = ("_private", "public")

    def __init__(self, private: Page) -> None:
        from nacl.bindings import crypto_scalarmult_base

        self._private = private
        raw = bytes(private.view())
        self.public: Final = PublicKey(crypto_scalarmult_base(raw))
        burn(raw)

    def open(self, submission: bytes, reference: SecretReference) -> Secret:
        """The value that was submitted for this reference."""
        from nacl.bindings import crypto_box_seal_open
        from nacl.exceptions import CryptoError

        raw = bytes(self._private.view())
        try:
            framed = crypto_box_seal_open(submission, self.public, raw)
        except (CryptoError, ValueError, TypeError):
            raise _unopened("it was not sealed to this vault's key, or was changed") from None
        finally:
            burn(raw)
        _overwrite_what_the_library_freed(len(submission))
        try:
            return _taken_out(framed, reference)
        finally:
            burn(framed)


def _taken_out(framed: bytes, reference: SecretReference) -> Secret:
    name = str(reference).encode("ascii")
    head = _MAGIC + len(name).to_bytes(_LENGTH, "big") + name
    if not framed.startswith(_MAGIC):
        raise _unopened("what is in it is not a submission of version 1")
    if not framed.startswith(head):
        raise _unopened("it was made for another secret")
    return Secret(memoryview(framed)[len(head) :])


def _overwrite_what_the_library_freed(size: int) -> None:
    # It decrypts into a buffer of its own, which it frees as it is. The next of that size is the
    # same one, and is zeroed when it is taken.
    from nacl.bindings import crypto_box_seal_open
    from nacl.exceptions import CryptoError

    try:
        crypto_box_seal_open(bytes(size), bytes(32), bytes(32))
    except (CryptoError, ValueError):
        return


def _unopened(why: str) -> SealedError:
    return SealedError(
        Code.SUBMISSION_UNOPENED,
        f"the sealed value cannot be opened: {why}",
        "seal it again, to the key that `stockade secrets key` prints now",
    )
