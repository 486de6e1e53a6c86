"""The root key in a file that only this user can read.

A file is weaker than a keychain (whoever reads the disk has the root), so it is used only where the
operator chose it by name. Raises `RootError`.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, final

from vault.burn import burn
from vault.privatefile import read_private, remove_private, write_private
from vault.rootkey import RootKey, generate_root, parse_root

_MAX_BYTES: Final = 128  # the stored form has 98, and perhaps a newline


@final
@dataclass(frozen=True, slots=True)
class FileRoot:
    """A root key in a 0600 file."""

    path: Path
    random: Callable[[int], bytes] = field(default=os.urandom, repr=False)

    def describe(self) -> str:
        """Name the file."""
        return f"file {self.path} (readable by whoever reads the disk as this user)"

    def load(self) -> RootKey:
        """Read the root key, if only this user could have touched the file."""
        stored = read_private(self.path, _MAX_BYTES)
        try:
            return parse_root(stored)
        finally:
            burn(stored)

    def create(self) -> RootKey:
        """Write a new root key, durably, and read it back."""
        stored = generate_root(self.random)
        line = stored.encode("ascii") + b"\n"
        try:
            write_private(self.path, line)
        finally:
            burn(stored, line)
        return self.load()

    def remove(self) -> None:
        """Overwrite the root key and remove the file."""
        remove_private(self.path)
