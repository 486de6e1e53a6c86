"""The root key in a file, sealed by a key that never leaves a PKCS #11 token.

The file alone opens nothing, and neither does the token. The token is asked when the root is
loaded. Raises `RootError`.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, final

from vault.burn import burn
from vault.errors import Code, RootError
from vault.privatefile import read_private, remove_private, write_private
from vault.rootkey import RootKey, generate_root, parse_root

if TYPE_CHECKING:
    from vault.token import SealingToken

_MAGIC: Final = b"SKDT\x01"
_NONCE: Final = 12
_MAX_BYTES: Final = 256


@final
@dataclass(frozen=True, slots=True)
class TokenRoot:
    """A root key sealed by a token."""

    path: Path
    module: Path
    token: str
    """The token's label."""
    key: str
    """The label of the key in it: this root's alone."""
    pin: Callable[[], str] = field(repr=False)
    random: Callable[[int], bytes] = field(default=os.urandom, repr=False)

    def describe(self) -> str:
        """Name the token and the file."""
        return f"file {self.path}, sealed by the key {self.key!r} in the token {self.token!r}"

    def load(self) -> RootKey:
        """Have the token unseal the root key."""
        sealed = read_private(self.path, _MAX_BYTES)
        nonce, content = sealed[len(_MAGIC) :][:_NONCE], sealed[len(_MAGIC) + _NONCE :]
        if not sealed.startswith(_MAGIC) or not content:
            raise RootError(
                Code.ROOT_MALFORMED,
                f"{self.path} does not hold a root key that a token sealed",
                "restore it from a backup",
            )
        stored = self._token().open(self.key, nonce, content)
        try:
            return parse_root(stored)
        finally:
            burn(stored)

    def create(self) -> RootKey:
        """Make a key in the token and a root that it seals, and read it back."""
        token, nonce = self._token(), self.random(_NONCE)
        token.make(self.key)
        stored = generate_root(self.random)
        raw = stored.encode("ascii")
        try:
            content = token.seal(self.key, nonce, raw)
        finally:
            burn(stored, raw)
        write_private(self.path, _MAGIC + nonce + content)
        return self.load()

    def remove(self) -> None:
        """Destroy the key in the token, then the file that it sealed."""
        self._token().destroy(self.key)
        remove_private(self.path)

    def _token(self) -> "SealingToken":
        try:
            from vault.token import SealingToken
        except ImportError:
            raise RootError(
                Code.TOKEN_UNUSABLE,
                "this installation has no support for PKCS #11 tokens",
                "install it: pip install 'stockade[pkcs11]'",
            ) from None
        return SealingToken(self.module, self.token, self.pin)
