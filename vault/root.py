"""Where the root key comes from: one tiny interface, and the sources that fill it.

Exactly one source is chosen when the daemon is initialised and named in its configuration. A
source that fails has failed: nothing here tries another one, because a keychain silently replaced
by a file is how a root key ends up in the clear.
"""

from typing import Protocol

from vault.keychain import KeychainNote, KeychainReport, KeychainRoot, probe_keychain
from vault.passphraseroot import PassphraseRoot
from vault.rootfile import FileRoot
from vault.rootkey import RootKey, RootKeyId
from vault.supplied import SuppliedRoot
from vault.tokenroot import TokenRoot

__all__ = [
    "FileRoot",
    "KeychainNote",
    "KeychainReport",
    "KeychainRoot",
    "PassphraseRoot",
    "RootKey",
    "RootKeyId",
    "RootSource",
    "SuppliedRoot",
    "TokenRoot",
    "probe_keychain",
]


class RootSource(Protocol):
    """A place that holds one root key. All methods block: call them in a thread."""

    def load(self) -> RootKey:
        """Fetch the root key, or raise `RootError`; never creates one."""

    def create(self) -> RootKey:
        """Make and store a new root key; refuses with ROOT_EXISTS if there is one."""

    def remove(self) -> None:
        """Take the root key away for good; nothing happens if it is not there."""

    def describe(self) -> str:
        """Name the place for `stockade doctor`, without any secret."""
