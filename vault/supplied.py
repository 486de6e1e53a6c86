"""A root key that whoever starts this process hands to it, such as a systemd credential.

It was made before (`stockaded new-root`) and is kept by others: this source neither makes nor
removes one. Raises `RootError`; so must the function that reads it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import final

from vault.burn import burn
from vault.errors import Code, RootError
from vault.rootkey import RootKey, parse_root


@final
@dataclass(frozen=True, slots=True)
class SuppliedRoot:
    """A root key in its stored form, from elsewhere."""

    name: str
    how: str
    """What to do so that it is supplied."""
    read: Callable[[], bytes] = field(repr=False)

    def describe(self) -> str:
        """Name what is supplied."""
        return self.name

    def load(self) -> RootKey:
        """Read it."""
        stored = self.read()
        try:
            return parse_root(stored)
        finally:
            burn(stored)

    def create(self) -> RootKey:
        """Take up the one that is supplied: it cannot be made from here."""
        return self.load()

    def remove(self) -> None:
        """Refuse: whoever supplies it has to stop."""
        raise RootError(
            Code.ROOT_KEPT_ELSEWHERE,
            f"{self.name} is not this daemon's to remove",
            "take it out of the service's unit, and destroy it where it is kept",
        )
