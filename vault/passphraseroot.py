"""The root key in a file, sealed under a passphrase: for machines without a keychain.

The file alone opens nothing. The passphrase comes from a person, or from wherever the operator
keeps it; without it the root is locked, and nothing else is tried. Raises `RootError`.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, final

from vault.burn import burn
from vault.errors import Code, RootError
from vault.passphrase import Cost, check_passphrase, open_under, seal_under
from vault.privatefile import read_private, remove_private, write_private
from vault.rootkey import RootKey, generate_root, parse_root
from vault.secret import Secret

_MAGIC: Final = b"SKDP"
_MAX_BYTES: Final = 256


@final
@dataclass(frozen=True, slots=True)
class PassphraseRoot:
    """A root key sealed under a passphrase, in a 0600 file."""

    path: Path
    passphrase: Callable[[], Secret | None] = field(repr=False)
    """Asked for each time; None while nobody has given it."""
    cost: Cost = field(default=Cost(), repr=False)
    random: Callable[[int], bytes] = field(default=os.urandom, repr=False)

    def describe(self) -> str:
        """Name the file."""
        return f"file {self.path}, sealed under a passphrase (Argon2id)"

    def load(self) -> RootKey:
        """Unseal the root key."""
        # First: that there is none is worth more to know than that it could not be opened.
        sealed = read_private(self.path, _MAX_BYTES)
        with self._given() as passphrase, open_under(passphrase, _MAGIC, sealed) as opened:
            stored = opened.reveal()
            try:
                return parse_root(stored)
            finally:
                burn(stored)

    def create(self) -> RootKey:
        """Make a root key, seal it under the passphrase, and read it back."""
        with self._given() as passphrase:
            check_passphrase(passphrase)
            stored = generate_root(self.random)
            raw = stored.encode("ascii")
            try:
                sealed = seal_under(passphrase, _MAGIC, raw, self.cost, self.random)
            finally:
                burn(stored, raw)
        write_private(self.path, sealed)
        return self.load()

    def remove(self) -> None:
        """Overwrite and remove the file."""
        remove_private(self.path)

    def _given(self) -> Secret:
        passphrase = self.passphrase()
        if passphrase is None:
            raise RootError(
                Code.ROOT_LOCKED,
                "the vault's passphrase has not been given since the daemon started",
                "`stockade secrets unlock`",
            )
        return passphrase
